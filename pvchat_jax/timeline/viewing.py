"""What a timeline needs of the model: how a base looks at windows, and what a person's pack says about them."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.config.pack_manifest import CALIBRATION_FILE, TENSORS_FILE, THRESHOLD_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.registry.registry import Registry
from pvchat_jax.timeline.windows import hop_of


class Watcher(Protocol):
    """The part of `assistant.Assistant` that timelines use."""

    def watch_frames(self, windows: Sequence[np.ndarray], times: Sequence[Sequence[float]], source: str) -> list[Watched]: ...

    def presence(self, watched: Sequence[Watched], name: str) -> list[Presence]: ...


class Viewing(NamedTuple):
    """How videos are looked at.

    Attributes:
      num_frames: T, frames of a window. seconds: length of a window.
      description: all that features depend on besides the video, as JSON; features of another description are of no use.
    """

    num_frames: int
    seconds: float
    description: str

    @property
    def step(self) -> float:
        """Seconds from look to look."""
        return self.seconds / self.num_frames

    @property
    def hop_seconds(self) -> float:
        """From one window to the next."""
        return self.step * hop_of(self.num_frames)


class Person(NamedTuple):
    """Who is looked for, and the fingerprint of what was learnt of them: what an earlier pack said is of no use."""

    name: str
    pack: str


def viewing_of(registry: Registry, seconds: float) -> Viewing:
    """How the base of a registry looks at windows of some seconds.

    Raises:
      UserError: nobody was ever enrolled, so that there is no base.
    """
    base = registry.base
    if base is None:
        raise UserError(f"nobody is enrolled in {registry.folder}; add somebody with: python -m pvchat_jax.subjects add RUN_OR_PACK")
    data = base.config.data
    values = {
        "base": base.fingerprint,
        "num_frames": data.num_frames,
        "image_size": data.image_size,
        "tile_grid": data.tile_grid,
        "compute_dtype": base.config.compute_dtype,
        "frozen_dtype": base.config.frozen_dtype,
        "seconds": seconds,
    }
    return Viewing(data.num_frames, seconds, json.dumps(values, sort_keys=True))


def person_of(registry: Registry, name: str) -> Person:
    """The enrolled person who is meant by `name`.

    Raises:
      UserError: there is no such person.
    """
    person = registry.person(name)
    digest = hashlib.sha256()
    for file in (TENSORS_FILE, CALIBRATION_FILE, THRESHOLD_FILE):
        path = person.folder / file
        digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"none")
    return Person(person.name, digest.hexdigest())
