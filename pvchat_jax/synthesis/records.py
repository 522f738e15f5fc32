"""The typed records that the steps of the synthesis hand to each other, all of them convertible to JSON and back."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What a clip is to the subject: the roles of data.records.Record.
ROLES = ("positive", "hard_negative", "easy_negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shot:
    """A stretch of a video without a cut, in seconds of the container's clock; `end` is exclusive."""

    start: float
    end: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A video that was filmed, not made: the reference video, or one of a corpus.

    Attributes:
      video: absolute path.
      sha256: of the file.
      seconds: that could be decoded. lost_seconds: that the container promises besides, where the file is damaged.
      frames_per_second: mean over the decoded part.
      width, height: of an upright frame in pixels.
    """

    video: str
    sha256: str
    seconds: float
    lost_seconds: float
    frames_per_second: float
    width: int
    height: int
    shots: tuple[Shot, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sighting:
    """A face in one frame.

    Attributes:
      time: of the frame, in seconds of the container's clock.
      box: left, top, right, bottom in pixels of the upright frame.
      score: of the detector, between 0 and 1.
      quality: by name (`sharpness`, `frontalness`, `size`, `eyes`, `exposure`), each between 0 and 1.
    """

    time: float
    box: tuple[float, float, float, float]
    score: float
    quality: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def total_quality(self) -> float:
        """The product of all qualities: one bad quality spoils a crop."""
        total = 1.0
        for value in self.quality.values():
            total *= value
        return total


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """One identity in a video, largest first among those of the video.

    Attributes:
      index: from 0, in order of `seconds` on screen.
      seconds: for which the person is seen.
      tracks: sightings by track, each in order of time and within one shot.
      embedding: float[D] of length 1, the mean over the best sightings. reader: name and version of what computed it.
    """

    index: int
    seconds: float
    tracks: tuple[tuple[Sighting, ...], ...]
    embedding: tuple[float, ...]
    reader: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """A short video of the training set, filmed or made.

    Attributes:
      name: unique in the training set and usable as a file name.
      video: path relative to the folder of the training set.
      role: one of `ROLES`. origin: one of data.records.ORIGINS.
      source: sha256 of the filmed video that the person in it comes from; splits never part clips of one source.
      tool: name and version of what made it. seed: that it was made with.
      settings: how it was made, as JSON values: prompt, scene, action and the like.
      sha256: of the video file.
      checks: what was measured about it (`identity_similarity`, `num_matches`, `nearest_duplicate`), as JSON values.
      rejected: why it is not used, in one sentence; empty if it is.
      truth: what is known of it, where the person comes from a made-up world; None for what is known to be open.
    """

    name: str
    video: str
    role: str
    origin: str
    source: str
    tool: str
    seed: int
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    sha256: str
    checks: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    rejected: str = ""
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role '{self.role}' is not one of {ROLES}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetAside:
    """Something that could not be used: a file, an image of the corpus, a prompt. `stage` names the step, `reason` is a sentence."""

    item: str
    stage: str
    reason: str


def sha256_of(path: Path) -> str:
    """Digest of a file in hexadecimal digits, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
