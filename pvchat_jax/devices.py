"""What JAX is told before it starts: how many devices a machine without an accelerator stands for, and where programs are kept."""

import ctypes
import os
import sys
from pathlib import Path

_MAX_CPU_DEVICES = 8  # batches of the tiny model divide by it
_ACCELERATORS = ("nvidia[0-9]*", "accel[0-9]*", "vfio/[0-9]*", "kfd")  # below /dev: GPUs of two makers, TPUs
_MALLOPT = {-4: 0, -1: 2**31 - 1, -8: 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX of glibc's malloc.h


def prepare_jax() -> None:
    """What every command of the package does before jax starts."""
    split_cpu_into_devices()
    keep_freed_memory()
    keep_compiled_programs()


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


def keep_freed_memory() -> None:
    """Lets a machine without an accelerator keep the memory that a step frees for the next step.

    XLA on the CPU asks for its working memory anew in every step; given back to the system in between, each page of it has to be
    cleared again, which took a quarter of the time of training the tiny model. Other machines, and systems whose C library has no
    `mallopt`, are left as they are.
    """
    if sys.platform != "linux" or any(True for pattern in _ACCELERATORS for _ in Path("/dev").glob(pattern)):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in _MALLOPT.items():
            mallopt(parameter, value)


def release_freed_memory() -> None:
    """Gives the system what `keep_freed_memory` has kept, for a program that runs for weeks.

    What is freed lies between what is not, and new arrays do not always fit there: a server would grow slowly. Systems whose C
    library has no `malloc_trim` are left as they are.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(ctypes.c_size_t(0))


def keep_compiled_programs() -> None:
    """Keeps compiled programs on the disk, so that the next run of the same model need not compile; to be called before jax starts.

    They go to `pvchat_jax/programs` in the user's cache folder, or where JAX_COMPILATION_CACHE_DIR says; empty switches it off.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "pvchat_jax" / "programs"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
