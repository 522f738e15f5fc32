"""How many devices a machine without an accelerator stands for."""

import os

_MAX_CPU_DEVICES = 8  # batches of the tiny model divide by it


def split_cpu_into_devices() -> None:
    """Makes each CPU core a JAX device (a power of two of them), to be called before jax starts.

    A step of a small model keeps little more than one core busy; as several devices the cores share its
    batch like a pod would. GPUs and TPUs are not affected, and a number that the user set stands.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = min(1 << (cores.bit_length() - 1), _MAX_CPU_DEVICES)
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(devices))
