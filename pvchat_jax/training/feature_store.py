"""The folder in which runs keep features of videos, whoever needs them: what is there, what is used, and what has to go.

    FOLDER/KIND/description.json    what the features of a kind have in common: the frozen encoder, the preprocessing
    FOLDER/KIND/VIDEO-DRAW.features    those of one draw of frames (data/stored_features.py)
    FOLDER/KIND/in_use    locked by every process that reads the kind's features

KIND is a digest of the description and VIDEO of the video's content, so a file that exists is right: whatever the features depend on
has another name when it changes, and nobody looks for the old one, which goes when its space is needed. When a file was last used
is its time of modification.

Locks end with their process, also on other hosts where the file system carries locks between them. Where it has none, nothing
is removed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

LOCK = "in_use"
DESCRIPTION = "description.json"
SUFFIX = ".features"
_THREADS = 16  # that ask a file system over a network at the same time
_DIGITS = 32


class _File(NamedTuple):
    """A file of features, or what a killed process left of one."""

    last_used: int
    path: Path
    size: int


class FeatureStore:
    """The features of one kind.

    Args:
      root: the folder of all kinds.
      description: JSON values that tell the kind.
      file_bytes: size of each file.
    """

    def __init__(self, root: Path, description: dict[str, Any], file_bytes: int) -> None:
        content = json.dumps(description, indent=1, sort_keys=True) + "\n"
        self.root = root
        self.folder = root / hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]
        self._description = content
        self._file_bytes = file_bytes

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it no run removes features of this kind; waits for one that is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # not opened for writing, which a finished store may refuse
        lock = os.open(self.folder / LOCK, os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield
        finally:
            os.close(lock)

    def missing(self, names: Collection[str]) -> list[str]:
        """Those of `names` that no whole file has."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return [name for name, there in zip(names, pool.map(self._is_there, names), strict=True) if not there]

    def _is_there(self, name: str) -> bool:
        try:
            return (self.folder / name).stat().st_size == self._file_bytes
        except OSError:
            return False

    def mark_used(self, names: Collection[str]) -> None:
        """Makes the files of `names` the last to go."""

        def touch(name: str) -> None:
            with contextlib.suppress(OSError):  # they belong to somebody else, who does not let others write
                os.utime(self.folder / name)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(touch, names))

    def make_room(self, names: Collection[str], max_gb: float, say: Callable[[str], None]) -> None:
        """Sees to it that what is missing of `names` can be written: within `max_gb` for all kinds together, and on the disk.

        For that, features which no run uses go, the least recently used first. To be called before `in_use`.

        Raises:
          UserError: that is not enough.
        """
        missing = len(self.missing(names)) * self._file_bytes
        if not missing:
            return
        needed, allowed = len(names) * self._file_bytes, round(max_gb * 1e9)
        need = f"the features of {len(names)} draws of frames need {_gb(needed)} in {self.root}"
        otherwise = "lower data.feature_draws, or set data.cache_features to False"
        if needed > allowed:
            raise UserError(f"{need} and data.features_max_gb allows {max_gb:g}; raise it, {otherwise}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / DESCRIPTION, self._description)
        wanted = {self.folder / name for name in names}
        others = sum(file.size for folder in _kinds(self.root) for file in _files(folder) if file.path not in wanted)
        too_much = needed + others - allowed
        free = shutil.disk_usage(self.root).free
        too_little = missing - free
        removed = remove_least_recently_used(self.root, wanted, max(too_much, too_little))
        if removed:
            say(f"removed {_gb(removed)} of features that were not used for longest from {self.root} to make room")
        if removed < too_much:
            raise UserError(
                f"{need}, {_gb(others)} of other features there may be in use and data.features_max_gb allows {max_gb:g}; raise it, "
                "or choose another data.features_dir."
            )
        if removed < too_little:
            raise UserError(f"{need}, whose disk has {_gb(free)} left; free some, {otherwise}.")


def remove_least_recently_used(root: Path, wanted: Collection[Path], num_bytes: float) -> int:
    """Removes features other than `wanted` that no process has locked, until `num_bytes` are free; returns how many are.

    Where all of them together are fewer, none is removed.
    """
    removed = 0
    if num_bytes <= 0:
        return removed
    with contextlib.ExitStack() as locks:
        candidates: list[_File] = []
        for folder in _kinds(root):
            with contextlib.suppress(OSError):  # somebody uses them, or they belong to somebody else
                lock = locks.enter_context(open(folder / LOCK, "ab"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                candidates += [file for file in _files(folder) if file.path not in wanted]
        enough = sum(file.size for file in candidates) >= num_bytes
        for file in sorted(candidates) if enough else ():
            if removed >= num_bytes:
                break
            with contextlib.suppress(FileNotFoundError):
                file.path.unlink()
                removed += file.size
    return removed


def _kinds(root: Path) -> list[Path]:
    return [description.parent for description in root.glob(f"*/{DESCRIPTION}")]


def _files(folder: Path) -> Iterator[_File]:
    """Files of features, also those under the temporary names of `write_features`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if SUFFIX in entry.name:
                with contextlib.suppress(FileNotFoundError):  # it was moved into place, or removed
                    status = entry.stat()
                    yield _File(status.st_mtime_ns, Path(entry.path), status.st_size)


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.3g} GB"
