"""What the command lines that run a configuration have in common."""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.devices import prepare_jax
from pvchat_jax.distributed.apart import keep_to_own_devices
from pvchat_jax.distributed.launchers import find_launch
from pvchat_jax.distributed.tpu_metadata import tpu_metadata
from pvchat_jax.errors import UserError, exit_on_user_error

_Config = TypeVar("_Config")


def run_command(
    name: str,
    argv: Sequence[str] | None,
    check: Callable[[_Config], object],
    run: Callable[[_Config], object],
    *,
    description: str,
    kind: type[_Config],
    example: str,
    several_processes: bool = False,
    apart: bool = False,
) -> None:
    """Reads a configuration from the command line and runs it.

    Exits with 2 for a `UserError`, and with 128 plus the signal's number when stopped, saying how to go on.

    Args:
      name: of the module, such as `pvchat_jax.pretrain`.
      argv: arguments after the program's name; None takes those of the process.
      check: raises `UserError` for what is missing, at once; `run` may take seconds to begin.
      description: what `--help` prints. example: a value of `--config` for messages.
      several_processes: whether the command can be one of several processes that share its work.
      apart: whether such processes work without ever meeting, each on its `own_share`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with exit_on_user_error():
        config = parse_command_line(arguments, description=description, kind=kind, example=example)
        check(config)
        launch = find_launch(os.environ, tpu_metadata)
        if launch is not None and not several_processes:
            raise UserError(f"{name} runs as one process and {launch.launcher} started {launch.process_count}; start it once.")
        if launch is not None and apart:
            keep_to_own_devices(launch, os.environ)
        prepare_jax()
        with contextlib.ExitStack() as stack:
            if launch is not None and not apart:
                from pvchat_jax.distributed.membership import joined  # imports jax

                stack.enter_context(joined(launch))
                stack.enter_context(exit_on_user_error())  # its sentence should come before this process leaves the others
            _run(run, config, shlex.join(["python", "-m", name, *arguments]))


def _run(run: Callable[[_Config], object], config: _Config, command: str) -> None:
    from pvchat_jax.training.loop import Interrupted  # slow, so after everything that may be wrong with the arguments

    try:
        run(config)
    except Interrupted as interruption:
        print(f"{interruption}; continue with: {command}", file=sys.stderr)
        raise SystemExit(128 + interruption.signum) from None
    except KeyboardInterrupt:
        print(f"interrupted; continue with: {command}", file=sys.stderr)
        raise SystemExit(130) from None


def nothing_needed(config: object) -> None:
    """For commands that read no file that a user has to provide."""
