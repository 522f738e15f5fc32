"""The people of single videos, read by the tiny base and cut out: those of a corpus once, kept beside its videos, and the subject."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.video import inspect_video, read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.synthesis.faces.tiny_base import FIGURE, Seen, TinyBaseReader
from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.generators.compositor import member_of
from pvchat_jax.synthesis.generators.cutouts import CUTTING, CutOut, cut_out
from pvchat_jax.synthesis.making.showing import Known
from pvchat_jax.synthesis.records import sha256_of
from pvchat_jax.synthesis.segmenting.segmenter import Segmenter
from pvchat_jax.synthesis.segmenting.tiny_base import TinyBaseSegmenter
from pvchat_jax.world.people import IDENTITY_VALUES

FRAMES_OF_OTHERS = 8  # of each video of the corpus; of the subject's one video all of them are used
MOST_FRAMES = 16
INDEX_FOLDER = "people"
_PER_FILE = 32  # videos; an interrupted run loses no more than these

Progress = Callable[[int, int], None]


class CutPerson(NamedTuple):
    """The person of one video.

    Attributes:
      member: what the compositor needs. embedding: float32[D], of the reader. known: what the video shows.
    """

    member: Member
    embedding: np.ndarray
    known: Known

    @property
    def other_figures(self) -> tuple[str, ...]:
        """Figures that differ from the person's in one thing."""
        values = self.member.figure.split("/")
        return tuple(
            "/".join([*values[:place], other, *values[place + 1 :]])
            for place, name in enumerate(FIGURE)
            for other in IDENTITY_VALUES[name]
            if other != values[place]
        )


class Eyes(NamedTuple):
    """What finds people and cuts them out."""

    reader: TinyBaseReader
    segmenter: TinyBaseSegmenter

    @property
    def name(self) -> str:
        """Tells what was cut by others."""
        return f"{self.reader.name}, {self.segmenter.name}, {CUTTING}"


def cut_subject(video: Path, eyes: Eyes) -> CutPerson:
    """The one person of the one video.

    Raises:
      UserError: the video cannot be read, or nobody is in it.
    """
    frames = _read(video, MOST_FRAMES)
    [people] = eyes.reader.watch_many([frames])
    if not people:
        raise UserError(f"nobody is seen in the video {video}; choose one that shows the person's head and shoulders.")
    return _person(sha256_of(video), people[0], _cut(frames, people[0], eyes.segmenter))


def cut_corpus(folder: Path, eyes: Eyes, progress: Progress) -> list[CutPerson]:
    """The people of a corpus's videos (`videos/*.mp4` in `folder`), one each; videos without a person are left out.

    What was cut is kept in `folder/people` and found there again.

    Raises:
      UserError: there are no videos, or one of them cannot be read.
    """
    videos = sorted((folder / "videos").glob("*.mp4"))
    if not videos:
        raise UserError(f"the corpus {folder} has no videos/*.mp4; put one short video of each of many people there.")
    parts = [videos[first : first + _PER_FILE] for first in range(0, len(videos), _PER_FILE)]
    (folder / INDEX_FOLDER).mkdir(exist_ok=True)
    people: list[CutPerson] = []
    for number, part in enumerate(parts):
        path = folder / INDEX_FOLDER / f"{number:05d}.npz"
        if not path.is_file() or (loaded := _load(path, part, eyes)) is None:
            _make(path, part, eyes)
            loaded = _load(path, part, eyes)
        people += loaded or []
        progress(min((number + 1) * _PER_FILE, len(videos)), len(videos))
    return people


def _read(video: Path, most: int) -> np.ndarray:
    return read_frames(video, min(inspect_video(video).num_frames, most)).frames


def _cut(frames: np.ndarray, seen: Seen, segmenter: Segmenter) -> CutOut:
    height, width = frames.shape[1:3]
    return cut_out(frames, seen.head_boxes * [width, height, width, height], segmenter, seen.looks.shoulders)


def _person(key: str, seen: Seen, cut: CutOut) -> CutPerson:
    looks = seen.looks
    return CutPerson(member_of(key, cut, looks), seen.embedding, Known(looks, looks.truth, bool(cut.head_x[-1] > cut.head_x[0])))


def _make(path: Path, videos: Sequence[Path], eyes: Eyes) -> None:
    """Reads and cuts the people of some videos and writes them to `path`."""
    frames = [_read(video, FRAMES_OF_OTHERS) for video in videos]
    shown = [(video, clip, people[0]) for video, clip, people in zip(videos, frames, eyes.reader.watch_many(frames), strict=True) if people]
    arrays: dict[str, np.ndarray] = {"videos": _names(videos), "eyes": np.array(eyes.name)}
    for number, (video, clip, seen) in enumerate(shown):
        cut = _cut(clip, seen, eyes.segmenter)
        arrays |= {f"{number}/{name}": np.asarray(value) for name, value in cut._asdict().items()}
        arrays |= {f"{number}/reads/{name}": value for name, value in seen.probabilities.items()}
        arrays |= {f"{number}/key": np.array(sha256_of(video)), f"{number}/scene": np.array(seen.scene), f"{number}/points": seen.points}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    write_atomically(path, file.getvalue())


def _load(path: Path, videos: Sequence[Path], eyes: Eyes) -> list[CutPerson] | None:
    """The people in a file of `_make`; None where it is of other videos or was made by others."""
    with np.load(path) as arrays:
        if "eyes" not in arrays or str(arrays["eyes"]) != eyes.name or arrays["videos"].tolist() != _names(videos).tolist():
            return None
        people = []
        number = 0
        while f"{number}/key" in arrays:
            cut = CutOut(*(arrays[f"{number}/{name}"] for name in CutOut._fields))
            reads = {name: arrays[f"{number}/reads/{name}"] for name in PERSON_CLASSES}
            seen = Seen(np.empty(0), arrays[f"{number}/points"], reads, str(arrays[f"{number}/scene"]))
            people.append(_person(str(arrays[f"{number}/key"]), seen, cut))
            number += 1
        return people


def _names(videos: Sequence[Path]) -> np.ndarray:
    return np.array([video.name for video in videos])
