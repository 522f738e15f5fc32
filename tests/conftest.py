"""Tests run on eight virtual CPU devices, set up before anything imports jax."""

import os

# most of a test's time is compiling, and compiled code that runs once need not be fast
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["JAX_PLATFORMS"] = "cpu"
