"""What JAX and the C library are told before anything starts."""

import ctypes
import os
import sys
import types
from pathlib import Path

import pytest

from pvchat_jax import devices


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("cores", "expected"), [(1, "1"), (2, "2"), (3, "2"), (7, "4"), (64, "8")])
def test_each_core_becomes_a_device(monkeypatch: pytest.MonkeyPatch, clean_environment: None, cores: int, expected: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    devices.split_cpu_into_devices()
    assert os.environ["JAX_NUM_CPU_DEVICES"] == expected


def test_a_number_that_the_user_set_stands(monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=5")
    devices.split_cpu_into_devices()
    assert "JAX_NUM_CPU_DEVICES" not in os.environ


def test_programs_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, clean_environment: None, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    devices.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "pvchat_jax" / "programs")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")  # switched off
    devices.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == ""


def told_to_malloc(monkeypatch: pytest.MonkeyPatch, in_dev: list[str], library: object) -> None:
    found = {pattern: [name for name in in_dev if Path(name).match(pattern)] for pattern in devices._ACCELERATORS}
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(found[pattern]))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    devices.keep_freed_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_kept_where_there_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, int] = {}
    library = types.SimpleNamespace(mallopt=told.__setitem__)
    for accelerator in ("nvidia0", "accel3", "kfd"):
        told_to_malloc(monkeypatch, [accelerator], library)
        assert not told
    told_to_malloc(monkeypatch, ["nvidiactl", "null"], library)
    assert told == devices._MALLOPT
    told_to_malloc(monkeypatch, [], types.SimpleNamespace())  # a C library that has no mallopt


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(malloc_trim=lambda kept: left.append(kept.value)))
    devices.release_freed_memory()
    assert left == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace())  # a C library that has no malloc_trim
    devices.release_freed_memory()
