"""Joining the other processes of a run, agreeing with them, and ending together."""

import contextlib
import ctypes
import hashlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from pvchat_jax.distributed.launchers import Launch
from pvchat_jax.errors import UserError

LOST_AFTER_SECONDS = 30  # without a sign of life; jax's own 100 would keep the others waiting longer than a minute
JOIN_SECONDS = 300
_LOST = re.compile("gloo|nccl|connection|unavailable|deadline|heartbeat", re.IGNORECASE)
_HOW_TO_GO_ON = "look for the first error in the output of all processes, and start all of them again to continue from the last checkpoint"


@contextlib.contextmanager
def joined(launch: Launch) -> Iterator[None]:
    """Within it this process is one of the run's processes; to be entered before jax starts.

    A process that stays silent for `LOST_AFTER_SECONDS` makes all others end, with status 1. Those that end at the same time
    wait for each other; where one ends alone, the wait fails after the same time and the others end as well.

    Raises:
      UserError: the others did not come within `JOIN_SECONDS`.
    """
    _join(launch)
    try:
        yield
    except BaseException as error:
        _leave(error)
    else:
        jax.distributed.shutdown()


def _join(launch: Launch) -> None:
    place = f"process {launch.process_id} of {launch.process_count}"
    print(f"{place}, started by {launch.launcher}; meeting the others at {launch.coordinator}", flush=True)
    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.process_count,
            launch.process_id,
            local_device_ids=launch.local_device,
            cluster_detection_method="deactivate",
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=LOST_AFTER_SECONDS,
            shutdown_timeout_seconds=LOST_AFTER_SECONDS,
        )
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        raise UserError(
            f"{place} did not meet the others at {launch.coordinator} ({_first_line(error)}); "
            "start all processes, let them reach that address, and stop what else listens there."
        ) from error
    _explain_abort(place)


def _explain_abort(place: str) -> None:
    """When a process is lost, jax's own thread prints where it stands and aborts; only a signal handler of C can still add a sentence."""
    sentence = f"error: {place} was aborted, most likely because another process of the run ended or cannot be reached; {_HOW_TO_GO_ON}.\n"

    def say(signum: int) -> None:
        os.write(2, sentence.encode())
        os._exit(1)

    global _abort_handler  # C keeps only its address
    _abort_handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(say)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, type(_abort_handler)), ctypes.c_void_p
    libc.signal(signal.SIGABRT, _abort_handler)


def _leave(error: BaseException) -> NoReturn:
    """Ends the process as Python would for `error`, but without the rest of its clean-up, which might wait for the others."""
    lost = isinstance(error, jax.errors.JaxRuntimeError) and _LOST.search(str(error))
    status = 1
    if lost:
        print(f"error: the processes can no longer exchange data ({_first_line(error)}); {_HOW_TO_GO_ON}.", file=sys.stderr)
    elif isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        status = error.code or 0
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    if not lost:
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()
    os._exit(status)


def require_same_everywhere(what: str, value: str) -> None:
    """Raises UserError on all processes unless all of them have the same `value`."""
    if jax.process_count() == 1:
        return
    digest = np.frombuffer(hashlib.sha256(value.encode()).digest()[:16], np.uint32)
    digests = multihost_utils.process_allgather(digest)
    others = [index for index, row in enumerate(digests) if not np.array_equal(row, digests[0])]
    if others:
        raise UserError(f"{what} differ between processes 0 and {others[0]}; give all processes the same files.")


def broadcast_from_first(values: np.ndarray) -> np.ndarray:
    """The `values` of process 0, on all processes, which give arrays of the same shape; each waits for the others."""
    return values if jax.process_count() == 1 else np.asarray(multihost_utils.broadcast_one_to_all(values))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
