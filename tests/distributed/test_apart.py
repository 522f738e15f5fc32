"""Processes that share work without meeting."""

import pytest

from pvchat_jax.distributed.apart import Share, keep_to_own_devices, own_share
from pvchat_jax.distributed.launchers import Launch
from pvchat_jax.errors import UserError


def test_every_piece_has_one_owner() -> None:
    for count in (1, 2, 3):
        assert [[Share(index, count).owns(piece) for index in range(count)].count(True) for piece in range(7)] == [1] * 7


def test_the_share_is_the_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert own_share() == Share(0, 1)
    for name, value in (("JAX_NUM_PROCESSES", "3"), ("JAX_PROCESS_ID", "2"), ("JAX_COORDINATOR_ADDRESS", "host:1")):
        monkeypatch.setenv(name, value)
    assert own_share() == Share(2, 3)


@pytest.mark.parametrize(("visible", "expected"), [({}, "1"), ({"CUDA_VISIBLE_DEVICES": "4,6"}, "6")])
def test_processes_of_one_host_keep_to_a_gpu_each(visible: dict[str, str], expected: str) -> None:
    keep_to_own_devices(Launch("Slurm job 7", "host:1", 2, 1, local_device=1), visible)
    assert visible == {"CUDA_VISIBLE_DEVICES": expected}


def test_hosts_of_a_tpu_slice_have_to_be_told() -> None:
    with pytest.raises(UserError, match="TPU_PROCESS_BOUNDS"):
        keep_to_own_devices(Launch("TPU metadata", "host:1", 2, 0), {})
