"""Brings an index up to date with a folder of videos, or with one video: encodes what is new, and nothing twice."""

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.timeline.index import Index, IndexUnusable, KnownFile, KnownVideo, printable
from pvchat_jax.timeline.reading import LongVideo, promised_seconds
from pvchat_jax.timeline.viewing import Viewing, Watcher
from pvchat_jax.timeline.windows import Window, windows_of

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv".split()  # others are opened if named
)
_CHUNK_WINDOWS = 32  # encoded and written together, and encoded again after an interruption
_CHUNK_BYTES = 256e6  # of their frames

Progress = Callable[[str, float, float], None]
"""Is called with the file in work, and the seconds of video that are done, and to be done in all."""

_Result = TypeVar("_Result")


class IndexedVideo(NamedTuple):
    """A file that is in the index."""

    path: Path
    video: KnownVideo


class Unreadable(NamedTuple):
    """A file that could not be indexed, and why, as a sentence."""

    path: Path
    reason: str


class Indexed(NamedTuple):
    """What of a folder is in the index now. `num_encoded` windows were encoded for that, and `num_gone` files had gone."""

    videos: tuple[IndexedVideo, ...]
    unreadable: tuple[Unreadable, ...]
    num_encoded: int
    num_gone: int


class _Pending(NamedTuple):
    path: Path
    stat: os.stat_result
    seconds: float  # as its header promises


def index_videos(place: Path, index: Index, watcher: Watcher, viewing: Viewing, progress: Progress | None = None) -> Indexed:
    """Indexes a video or all videos of a folder. An interrupted call can be made again and goes on where it was.

    Files of unchanged size and time are taken as known; content that was indexed before, under whatever name, is not encoded again.
    Files that have gone leave the index, with all that was kept of them. What cannot be read is listed and the rest goes on.

    Raises:
      UserError: `place` is not there, or is a folder without videos; then nothing leaves the index, since a disk may not be mounted.
    """
    place = Path(os.path.abspath(place))
    files = list(_files_of(place))
    indexed: dict[Path, IndexedVideo] = {}
    unreadable: list[Unreadable] = []
    pending = []
    for path in files:
        try:
            stat = path.stat()
            known = _known(index, path, stat, viewing)
            if known is not None:
                indexed[path] = known
            else:
                pending.append(_Pending(path, stat, promised_seconds(path)))
        except (UserError, OSError) as error:
            unreadable.append(Unreadable(path, printable(error)))
    gone = sorted(set(index.paths_below(printable(place))) - {printable(path) for path in files}) if place.is_dir() else []
    encoding = _Encoding(index, watcher, viewing, progress, sum(item.seconds for item in pending))
    for item in pending:
        try:
            indexed[item.path] = encoding.add(item)
        except _CannotRead as error:
            unreadable.append(Unreadable(item.path, str(error)))
        encoding.finish(item)
    index.drop_files(gone)  # now that moved files are known under their new names
    return Indexed(tuple(indexed[path] for path in files if path in indexed), tuple(unreadable), encoding.num_encoded, len(gone))


def _files_of(place: Path) -> Iterator[Path]:
    """The video itself, or those in a folder and in the folders inside it, in order; hidden ones are left out."""
    if not place.exists():
        raise UserError(f"there is no file or folder {place}; correct the path, or put the videos there.")
    if not place.is_dir():
        yield place
        return
    num_found = 0
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                num_found += 1
                yield path
    if not num_found:
        raise UserError(f"{place} has no videos ({', '.join(sorted(VIDEO_SUFFIXES))}); name a folder that has, or a video.")


def _known(index: Index, path: Path, stat: os.stat_result, viewing: Viewing) -> IndexedVideo | None:
    """The file, if it is unchanged and all of it was encoded."""
    file = index.file(printable(path))
    if file is None or (file.size, file.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
        return None
    video = index.video(file.sha256, viewing.description)
    return IndexedVideo(path, video) if video is not None and video.is_complete else None


class _CannotRead(Exception):
    """A video that cannot be read, as a sentence for the user."""


class _Encoding:
    """Encodes one video after the other. `num_encoded` counts windows."""

    def __init__(self, index: Index, watcher: Watcher, viewing: Viewing, progress: Progress | None, total_seconds: float) -> None:
        self.num_encoded = 0
        self._index, self._watcher, self._viewing = index, watcher, viewing
        self._progress, self._total, self._done = progress, total_seconds, 0.0

    def add(self, item: _Pending) -> IndexedVideo:
        """Encodes what the index lacks of a video.

        Raises:
          _CannotRead: the video is damaged before its first frame, or changed while it was read.
        """
        self._say(item, 0.0)
        sha256 = _reading(lambda: _digest(item.path))
        viewing = self._viewing.description
        self._index.put_file(printable(item.path), KnownFile(item.stat.st_size, item.stat.st_mtime_ns, sha256))
        video = self._index.video(sha256, viewing)
        if video is None or not video.is_complete:
            video = self._encode(item, sha256, video)
        now = _reading(item.path.stat)
        if (now.st_size, now.st_mtime_ns) != (item.stat.st_size, item.stat.st_mtime_ns):
            self._index.drop_video(sha256, viewing)
            raise _CannotRead(f"video {item.path} changed while it was read; start the same command again when it is complete.")
        return IndexedVideo(item.path, video)

    def finish(self, item: _Pending) -> None:
        """Counts the whole of a video as done, whatever became of it."""
        self._done += item.seconds
        self._say(item, 0.0)

    def _say(self, item: _Pending, seconds: float) -> None:
        if self._progress is not None:
            self._progress(printable(item.path), min(self._done + seconds, self._total), self._total)

    def _encode(self, item: _Pending, sha256: str, known: KnownVideo | None) -> KnownVideo:
        source = LongVideo(item.path, self._viewing.step, self._viewing.num_frames)
        last = None if known is None else self._index.last_window(known.id)
        if known is not None and last is not None:
            source.origin, source.notes = known.origin, list(known.notes)
        for chunk in _ahead(_chunks(source, last)):
            frames, times = [np.stack(window.frames) for window in chunk.windows], [window.frame_times for window in chunk.windows]
            watched = self._watcher.watch_frames(frames, times, printable(item.path)) if frames else []
            state = KnownVideo(0, source.grid.origin, source.clock_start, chunk.end, chunk.notes, chunk.is_last)
            features = [of_window.features for of_window in watched]
            if features and not self.num_encoded:
                self._require_space(features[0], self._done + chunk.windows[0].start - source.grid.origin)
            known = self._index.add_windows(sha256, self._viewing.description, state, chunk.windows, features)
            self.num_encoded += len(chunk.windows)
            self._say(item, min(chunk.end - source.grid.origin, item.seconds))
        if known is None:
            raise ValueError("reading a video gives at least one chunk")
        return known

    def _require_space(self, features: np.ndarray, done: float) -> None:
        """As soon as it is known what a window takes, after `done` seconds; large bases fill tens of gigabytes an hour."""
        needed = features.size * np.dtype(np.float16).itemsize * (self._total - done) / self._viewing.hop_seconds
        free = shutil.disk_usage(self._index.path.parent).free
        if needed > free:
            hours, folder = (self._total - done) / 3600, self._index.path.parent
            raise IndexUnusable(
                f"indexing {hours:.2f} hours of video needs about {needed / 1e9:.3g} GB in {folder}, where {free / 1e9:.3g} GB are free; "
                "free some, choose another --index, or name fewer videos."
            )


class _Chunk(NamedTuple):
    """Windows that are encoded and written together, and how far the video was read with them; `is_last` closes the video."""

    windows: tuple[Window, ...]
    end: float
    notes: tuple[str, ...]
    is_last: bool


def _chunks(source: LongVideo, last: tuple[int, int] | None) -> Iterator[_Chunk]:
    """The windows after the `last` one that is known, given by its number and run; the last chunk may have none."""
    first, run = last or (0, None)
    looks = source.looks(first)
    head = next(looks)  # from here on the source has a grid
    windows: list[Window] = []
    for window in windows_of(itertools.chain([head], looks), source.grid, run=run):
        if last is not None and window.number <= first:
            continue
        windows.append(window)
        if len(windows) >= _CHUNK_WINDOWS or len(windows) * sum(frame.nbytes for frame in window.frames) >= _CHUNK_BYTES:
            yield _Chunk(tuple(windows), window.end, tuple(source.notes), False)
            windows = []
    yield _Chunk(tuple(windows), source.end, tuple(source.notes), True)


def _ahead(chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
    """Reads the next chunk while the one before is encoded.

    Raises:
      _CannotRead: reading failed.
    """
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, chunks, None)
        while (chunk := _reading(upcoming.result)) is not None:
            upcoming = pool.submit(next, chunks, None)
            yield chunk


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reading(work: Callable[[], _Result]) -> _Result:
    """What a piece of reading returns; its errors are those of the video."""
    try:
        return work()
    except (UserError, OSError) as error:
        raise _CannotRead(printable(error)) from error
