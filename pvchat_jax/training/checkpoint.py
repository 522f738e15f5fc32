"""Checkpoints of a run: everything that must be kept to continue bit for bit, and nothing else.

A checkpoint holds `state` (the TrainState; frozen parameters never), `data` (the position of the data
iterator), `meta` (JSON) and the checksums of all their files. Orbax writes it in the background under a
temporary name and renames it when it is complete, so a numbered directory is always whole.
"""

import contextlib
import errno
import gc
import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from pvchat_jax.errors import UserError
from pvchat_jax.training.partition import Params
from pvchat_jax.training.state import TrainState

FORMAT_VERSION = 1
CHECKSUMS = "checksums.json"
_UNFINISHED = "*.orbax-checkpoint-tmp*"
_MIN_SLICE_BYTES = 2**20  # of an array that several devices hold whole and write in parts


class Restored(NamedTuple):
    """What `Checkpoints.restore` found; the data iterator was set in place."""

    state: TrainState
    meta: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints in one directory.

    Args:
      directory: created if need be.
      keep: how many of the newest stay.
      read_only: for reading a run that may still be going on; nothing is created or tidied up.
      report: takes a line about a damaged checkpoint.
    """

    def __init__(self, directory: Path, *, keep: int = 1, read_only: bool = False, report: Callable[[str], None] = print) -> None:
        self.directory = Path(directory).absolute()
        self._report = report
        if read_only:
            options = ocp.CheckpointManagerOptions(read_only=True, create=False, save_interval_steps=0)
        else:
            # The callback runs when all files are written and before the rename that completes the checkpoint.
            background = ocp.options.AsyncOptions(post_finalization_callback=self._write_checksums)
            options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True, async_options=background)
        handlers = {
            "state": ocp.PyTreeCheckpointHandler(type_handler_registry=_array_handlers()),
            "data": grain.checkpoint.CheckpointHandler(),
            "meta": ocp.JsonCheckpointHandler(),
        }
        with _quiet():
            self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())

    def save(self, step: int, state: TrainState, iterator: Any, meta: dict[str, Any]) -> None:
        """Starts writing a checkpoint; state and iterator may move on as soon as this returns.

        Args:
          iterator: a grain iterator whose state is the same on all processes.
          meta: JSON values; what `restore` is to compare belongs under `must_match`.

        Raises:
          UserError: the disk is full, now or during the save before.
        """
        items = {
            "state": ocp.args.PyTreeSave(state),
            "data": grain.checkpoint.CheckpointSave(iterator),
            "meta": ocp.args.JsonSave({"format_version": FORMAT_VERSION, **meta}),
        }
        with self._explaining_full_disk():
            self._manager.save(step, args=ocp.args.Composite(**items))

    def wait(self) -> None:
        """Returns when everything is written; raises UserError for a full disk."""
        with self._explaining_full_disk():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for a save in the background and lets go of the directory. `wait` is where a failed save shows."""
        with contextlib.suppress(Exception):
            self._manager.wait_until_finished()
        self._manager.close()

    def reached_preemption(self, step: int) -> bool:
        """Whether the scheduler is about to stop this run; all processes get the same answer for a step."""
        return self._manager.reached_preemption(step)

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON saved at `step`."""
        return dict(self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"])

    def restore(self, like: TrainState, iterator: Any, must_match: dict[str, Any]) -> Restored:
        """The newest of `steps()` that is not damaged.

        Args:
          like: TrainState of arrays or `jax.ShapeDtypeStruct`s with the shardings to restore into.
          iterator: set to the checkpoint's position.
          must_match: compared with the saved values of the same names.

        Raises:
          UserError: another model size, other `must_match` values, another format, or nothing but damage.
        """
        for step in reversed(self.steps()):
            found = self._restore_step(step, like, iterator, must_match)
            if found is not None:
                return found
            self._put_aside(step)
        raise UserError(f"no checkpoint in {self.directory} is undamaged; start again with another --config.output_dir.")

    def restore_trainable(self, step: int, like: Params) -> Params:
        """The trainable parameters at `step`, placed as in `like`.

        Raises:
          UserError: they have other shapes, or are damaged.
        """
        arguments = _restore_args({"trainable": like}, partial_restore=True)
        problem = self._verify(step)
        if problem is None:
            self._check_shapes(step, {"trainable": like})
            try:
                # A handler of its own: the manager's is bound to whole states.
                with _quiet(), ocp.PyTreeCheckpointer() as reader:
                    return reader.restore(self.directory / str(step) / "state", args=arguments)["trainable"]
            except Exception as error:
                _raise_unless_damage(error)
                problem = _first_line(error)
        raise UserError(f"checkpoint {self.directory / str(step)} is damaged ({problem}); remove it to use the one before.")

    def _restore_step(self, step: int, like: TrainState, iterator: Any, must_match: dict[str, Any]) -> Restored | None:
        """One checkpoint, or None (with a report) if it is damaged."""
        restored, problem = None, self._verify(step)
        intact = _all_processes(problem is None)
        with _quiet():
            try:
                if intact:
                    meta = self.meta(step)
                    self._check_meta(step, meta, must_match)
                    self._check_shapes(step, like)
                    arguments = ocp.args.Composite(state=_restore_args(_abstract(like)))
                    restored = Restored(self._manager.restore(step, args=arguments)["state"], meta, step)
                    self._move(iterator, step)
            except Exception as error:
                _raise_unless_damage(error)
                problem = _first_line(error)
        if _all_processes(restored is not None):
            return restored
        self._report(f"checkpoint {self.directory / str(step)} is damaged ({problem or 'on another host'}); using the one before.")
        return None

    def _move(self, iterator: Any, step: int) -> None:
        """Sets the position saved at `step`. All processes save the same one, so the first one's file serves any number of them."""
        (saved,) = (self.directory / str(step) / "data").glob("process_0-of-*.json")
        iterator.set_state(json.loads(saved.read_text(encoding="utf-8")))
        iterator.start_prefetch()

    def _check_meta(self, step: int, meta: dict[str, Any], must_match: dict[str, Any]) -> None:
        place = self.directory / str(step)
        if meta["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"checkpoint {place} has format {meta['format_version']} and this version of pvchat_jax reads {FORMAT_VERSION}; "
                "use the version that wrote it."
            )
        for name, value in must_match.items():
            if meta["must_match"].get(name) != value:
                raise UserError(
                    f"checkpoint {place} was made with {name} {meta['must_match'].get(name)} and this run has {value}; "
                    f"restore the former value or start a new run with another --config.output_dir."
                )

    def _check_shapes(self, step: int, like: Any) -> None:
        """Raises UserError with the first tensor that differs from the saved one."""
        metadata = self._manager.item_metadata(step)["state"]
        if metadata is None:
            return
        saved = {name: tuple(leaf.shape) for name, leaf in _named_leaves(metadata.tree) if hasattr(leaf, "shape")}
        wanted = [(name, tuple(leaf.shape)) for name, leaf in _named_leaves(like)]
        # Trainable parameters first: their names mean more than those of optimizer moments.
        for name, shape in sorted(wanted, key=lambda item: not item[0].startswith("trainable/")):
            if saved.get(name) != shape:
                has = f"has shape {saved[name]}" if name in saved else "is missing"
                raise UserError(
                    f"checkpoint {self.directory / str(step)} is of another model: {name} {has} there and has shape {shape} in this "
                    f"configuration; use the same model sizes or another directory."
                )

    def _write_checksums(self) -> None:
        if jax.process_index() == 0:
            for folder in self.directory.glob(_UNFINISHED):
                # Of the items alone: Orbax still changes its own metadata beside them.
                files = sorted(path for path in folder.glob("*/**/*") if path.is_file())
                sums = {str(path.relative_to(folder)): _checksum(path) for path in files}
                (folder / CHECKSUMS).write_text(json.dumps(sums, indent=0), encoding="utf-8")

    def _verify(self, step: int) -> str | None:
        """What is wrong with the files of a checkpoint, if anything; one process reads for all."""
        folder = self.directory / str(step)
        if jax.process_index() != 0:
            return None
        if not (folder / CHECKSUMS).is_file():
            return f"{CHECKSUMS} is missing"
        for name, checksum in json.loads((folder / CHECKSUMS).read_text(encoding="utf-8")).items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if _checksum(folder / name) != checksum:
                return f"{name} has changed since it was written"
        return None

    def _put_aside(self, step: int) -> None:
        """Renames a damaged checkpoint, so that its step can be saved again and nothing is deleted."""
        if jax.process_index() == 0:
            target = self.directory / f"damaged-{step}"
            shutil.rmtree(target, ignore_errors=True)
            (self.directory / str(step)).rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoint put aside")
        self._manager.reload()

    @contextlib.contextmanager
    def _explaining_full_disk(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_disk_full(error):
                raise
            raise self.explain_full_disk() from error

    def last_good(self) -> str:
        """The newest complete checkpoint in words, one that is still being written included if that succeeds."""
        with contextlib.suppress(Exception):
            self._manager.wait_until_finished()
        steps = self.steps()
        return f"the last good checkpoint is step {steps[-1]} in {self.directory}" if steps else "no checkpoint had been saved yet"

    def explain_full_disk(self) -> UserError:
        """What to raise when there is no space left."""
        last_good = self.last_good()
        for folder in self.directory.glob(_UNFINISHED):
            shutil.rmtree(folder, ignore_errors=True)
        return UserError(f"the disk is full; {last_good}; free some space and start the same command again to continue.")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind `error`; Orbax and TensorStore raise it under other types."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _raise_unless_damage(error: Exception) -> None:
    """Problems of this machine or of the user's making say nothing about the files."""
    if isinstance(error, UserError | MemoryError | PermissionError | jax.errors.JaxRuntimeError):
        raise error


def _all_processes(ok: bool) -> bool:
    """Whether all processes agree on `ok`, so that none goes on alone."""
    if jax.process_count() == 1:
        return ok
    return bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))


def _abstract(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree)


def _restore_args(like: Any, **options: Any) -> ocp.args.PyTreeRestore:
    return ocp.args.PyTreeRestore(like, restore_args=ocp.checkpoint_utils.construct_restore_args(like), **options)


def _array_handlers() -> Any:
    """How Orbax reads and writes arrays: small ones are not cut up, which compiles a program for each shape and device."""
    handlers = ocp.type_handlers
    return handlers.create_type_handler_registry(
        (jax.Array, handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_MIN_SLICE_BYTES)), (np.ndarray, handlers.NumpyHandler())
    )


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in jax.tree.leaves_with_path(tree)]


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the tracebacks that TensorStore leaves behind on the event loop off the terminal; the error itself is raised."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        gc.collect()  # the event loop reports forgotten tasks when they are collected
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
