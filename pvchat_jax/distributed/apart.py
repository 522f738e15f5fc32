"""Processes that share work without ever meeting: each takes its part by its number, and none waits for another."""

import os
from collections.abc import MutableMapping
from typing import NamedTuple

from pvchat_jax.distributed.launchers import Launch, find_launch
from pvchat_jax.distributed.tpu_metadata import tpu_metadata
from pvchat_jax.errors import UserError

_TPU_LAUNCHERS = ("GKE for TPUs", "TPU metadata")


class Share(NamedTuple):
    """Every `count`th piece of the work, from piece `index` on."""

    index: int = 0
    count: int = 1

    def owns(self, piece: int) -> bool:
        return piece % self.count == self.index


def own_share() -> Share:
    """This process's share, as the launcher that started it says."""
    launch = find_launch(os.environ, tpu_metadata)
    return Share() if launch is None else Share(launch.process_id, launch.process_count)


def keep_to_own_devices(launch: Launch, environment: MutableMapping[str, str]) -> None:
    """Leaves this process the devices that are its own; to be called before jax starts.

    Raises:
      UserError: the hosts of a TPU slice, whose chips wait for each other, were not told to work apart.
    """
    if launch.launcher in _TPU_LAUNCHERS:
        raise UserError(
            "the hosts of a TPU slice have to be told that each works apart here; set TPU_PROCESS_BOUNDS=1,1,1, JAX_NUM_PROCESSES, "
            "JAX_PROCESS_ID and JAX_COORDINATOR_ADDRESS on each of them."
        )
    if launch.local_device is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[launch.local_device] if visible else str(launch.local_device)
