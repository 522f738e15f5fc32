"""What every backend that makes clips offers to the rest of the synthesis; positives and negatives go through the same one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Looks
from pvchat_jax.synthesis.records import Person, Source


class Performer(NamedTuple):
    """Who is to be shown, the subject or somebody else.

    Attributes:
      source: the filmed video that shows them.
      person: where in it.
      portraits: the best crops, uint8[H, W, 3] in RGB each, best first.
      looks: what the reader says of them besides the face; None where it cannot tell.
    """

    source: Source
    person: Person
    portraits: tuple[np.ndarray, ...]
    looks: Looks | None = None


class Prompt(NamedTuple):
    """What a clip is to show. `text` holds no name; `scene` and `action` are the keys under which the bank has it."""

    scene: str
    action: str
    text: str


class Counterpart(NamedTuple):
    """A clip of the same prompt: the sha256 of its performer's video, and its seed."""

    source: str
    seed: int


class ClipRequest(NamedTuple):
    """One clip to make; the same request gives the same pixels.

    Attributes:
      num_frames, width, height: of the clip, the sides in pixels.
      counterpart: what it is to be like in everything but the performer, as far as the generator can have it so.
    """

    performer: Performer
    prompt: Prompt
    seed: int
    num_frames: int
    width: int
    height: int
    counterpart: Counterpart | None = None


class MadeClip(NamedTuple):
    """A clip: frames uint8[T, H, W, 3] in RGB, and how it was made, as JSON values."""

    frames: np.ndarray
    settings: dict[str, object]


class ClipGenerator(Protocol):
    """A backend.

    Attributes:
      name: name and version, as noted in the manifest.
      origin: what it makes, one of data.records.ORIGINS.
      frames_per_second: of the clips.
    """

    name: str
    origin: str
    frames_per_second: float

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        """The clip of each request in order, or why that one could not be made; the rest goes on."""
        ...
