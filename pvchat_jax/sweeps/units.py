"""The smallest pieces of a sweep's work: a few videos each, the same ones on any mesh and with any number of processes."""

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.config.schema import DataConfig
from pvchat_jax.data.records import Record
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import SetAside
from pvchat_jax.evaluation.generation import VIDEOS_AT_ONCE, read_video

_MAX_READERS = 4


class Unit(NamedTuple):
    """Videos of a file of questions by their places in it; none is alone in its unit, unless it is alone in its file."""

    number: int
    members: tuple[int, ...]


def make_units(records: Sequence[Record]) -> list[Unit]:
    """Units of at most `VIDEOS_AT_ONCE` videos.

    Videos are mixed first, so that another video of the same unit is a random other video of the file. The order follows from their
    places alone and is the same on every machine.
    """
    order = sorted(range(len(records)), key=lambda place: hashlib.sha256(str(place).encode()).digest())
    starts = list(range(0, len(order), VIDEOS_AT_ONCE))
    if len(order) % VIDEOS_AT_ONCE == 1 and len(order) > 1:
        starts[-1] -= 1
    ends = [*starts[1:], len(order)]
    return [Unit(number, tuple(order[start:end])) for number, (start, end) in enumerate(zip(starts, ends, strict=True))]


class UnitFeatures(NamedTuple):
    """Members of a unit whose videos could be read, the others, and the features float[VIDEOS_AT_ONCE, N, L, D] of the former, filled
    up with the first of them; None where there is none."""

    readable: tuple[int, ...]
    set_aside: tuple[SetAside, ...]
    features: np.ndarray | None


Encode = Callable[[np.ndarray], Any]


def encode_units(
    units: Sequence[Unit], records: Sequence[Record], data: DataConfig, encode: Encode, at_once: int, scratch: Path
) -> Iterator[tuple[int, UnitFeatures]]:
    """Numbers of `units` with their features, which lie in a file without a name in `scratch`.

    Args:
      data: how a video is looked at.
      encode: float32[at_once * VIDEOS_AT_ONCE, N, T, H, W, 3] `->` features float[at_once * VIDEOS_AT_ONCE, N, L, D].
    """
    store: np.memmap | None = None
    with ThreadPoolExecutor(_MAX_READERS) as pool, tempfile.TemporaryFile(dir=scratch) as file:
        reading = _read_ahead(pool, units, records, data, 2 * at_once)
        done = 0
        while group := list(itertools.islice(reading, at_once)):
            videos = [np.stack(_filled(read.videos)) for read in group if read.videos]
            if videos:
                encoded = np.asarray(encode(np.concatenate([*videos, *itertools.repeat(videos[0], at_once - len(videos))])))
                if store is None:
                    store = np.memmap(file, encoded.dtype, "w+", shape=(len(units), VIDEOS_AT_ONCE, *encoded.shape[1:]))
                pieces = iter(encoded.reshape(at_once, VIDEOS_AT_ONCE, *encoded.shape[1:]))
            for read in group:
                features = None
                if read.videos:
                    store[done] = next(pieces)
                    features = store[done]
                done += 1
                yield read.unit.number, UnitFeatures(read.readable, read.set_aside, features)


class _Read(NamedTuple):
    unit: Unit
    readable: tuple[int, ...]
    set_aside: tuple[SetAside, ...]
    videos: list[np.ndarray]


def _read_ahead(
    pool: ThreadPoolExecutor, units: Sequence[Unit], records: Sequence[Record], data: DataConfig, ahead: int
) -> Iterator[_Read]:
    """The units in order; `ahead` of them are read while others are encoded."""

    def read(unit: Unit) -> _Read:
        found = [_try_to_read(records[member].video, data) for member in unit.members]
        pairs = list(zip(unit.members, found, strict=True))
        bad = tuple(video for _, video in pairs if isinstance(video, SetAside))
        good = [(member, video) for member, video in pairs if not isinstance(video, SetAside)]
        return _Read(unit, tuple(member for member, _ in good), bad, [video for _, video in good])

    upcoming = iter(units)
    waiting = [pool.submit(read, unit) for unit in itertools.islice(upcoming, ahead)]
    while waiting:
        waiting.extend(pool.submit(read, unit) for unit in itertools.islice(upcoming, 1))
        yield waiting.pop(0).result()


def _try_to_read(path: str, data: DataConfig) -> np.ndarray | SetAside:
    try:
        return read_video(path, data)
    except UserError as error:
        return SetAside(path, str(error))


def _filled(videos: list[np.ndarray]) -> list[np.ndarray]:
    return [*videos, *itertools.repeat(videos[0], VIDEOS_AT_ONCE - len(videos))]
