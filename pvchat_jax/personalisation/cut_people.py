"""The people of single videos, read by the tiny base and cut out: those of a corpus once, kept beside its videos, and the subject."""

import concurrent.futures
import io
import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.video import inspect_video, read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.synthesis.faces.tiny_base import Seen, TinyBaseReader
from pvchat_jax.synthesis.generators.compositor import Member
from pvchat_jax.synthesis.generators.cutouts import CutOut, cut_out
from pvchat_jax.synthesis.records import sha256_of
from pvchat_jax.world.people import IDENTITY_VALUES, Outfit
from pvchat_jax.world.staging import HALF_SHOULDERS, HEAD_RADII

FRAMES_OF_OTHERS = 8  # of each video of the corpus; of the subject's one video all of them are used
MOST_FRAMES = 16
INDEX_FOLDER = "people"
_PER_FILE = 32  # videos; an interrupted run loses no more than these
_FIGURE = ("build", "gait", "skin")  # what must agree for a body to be lent
OF_THE_FACE = ("nod", "look around")  # actions that the head's own frames show
_HIDES_BODY = "long"  # a hair style

Progress = Callable[[int, int], None]


class CutPerson(NamedTuple):
    """The person of one video.

    Attributes:
      member: what the compositor needs. embedding: float32[D], of the reader.
      outfit, action: what the person is seen in and doing.
    """

    member: Member
    embedding: np.ndarray
    outfit: Outfit
    action: str

    @property
    def other_figures(self) -> tuple[str, ...]:
        """Figures that differ from the person's in build or gait alone."""
        values = self.member.figure.split("/")
        others = []
        for place, name in enumerate(_FIGURE):
            if name != "skin":
                others += [
                    "/".join([*values[:place], other, *values[place + 1 :]]) for other in IDENTITY_VALUES[name] if other != values[place]
                ]
        return tuple(others)


def cut_subject(video: Path, reader: TinyBaseReader) -> CutPerson:
    """The one person of the one video.

    Raises:
      UserError: the video cannot be read, or nobody is in it.
    """
    frames = _read(video, MOST_FRAMES)
    [people] = reader.watch_many([frames])
    if not people:
        raise UserError(f"nobody is seen in the video {video}; choose one that shows the person's head and shoulders.")
    return _person(sha256_of(video), people[0], _cut(frames, people[0]))


def cut_corpus(folder: Path, reader: TinyBaseReader, progress: Progress) -> list[CutPerson]:
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
    executor: concurrent.futures.Executor | None = None
    try:
        for number, part in enumerate(parts):
            path = folder / INDEX_FOLDER / f"{number:05d}.npz"
            names = [video.name for video in part]
            if not path.is_file() or (loaded := _load(path, names)) is None:
                # Not forked: jax has threads of its own.
                executor = executor or concurrent.futures.ProcessPoolExecutor(os.cpu_count() or 1, multiprocessing.get_context("spawn"))
                _make(path, part, reader, executor)
                loaded = _load(path, names)
            people += loaded or []
            progress(number + 1, len(parts))
    finally:
        if executor is not None:
            executor.shutdown(cancel_futures=True)
    return people


def _read(video: Path, most: int) -> np.ndarray:
    return read_frames(video, min(inspect_video(video).num_frames, most)).frames


def _cut(frames: np.ndarray, seen: Seen) -> CutOut:
    height, width = frames.shape[1:3]
    radii = HEAD_RADII[seen.most_probable("face")]
    shoulders = HALF_SHOULDERS[seen.most_probable("build")] / np.sqrt(radii[0] * radii[1])
    return cut_out(frames, seen.head_boxes * [width, height, width, height], float(shoulders))


def _person(key: str, seen: Seen, cut: CutOut) -> CutPerson:
    read = {name: seen.most_probable(name) for name in PERSON_CLASSES}
    figure = "/".join(read[name] for name in _FIGURE)
    hat = "" if read["hat"] == "none" else read["hat"]
    hair = "/".join(read[name] for name in ("face", "hair_style", "hair_colour"))
    member = Member(
        key,
        figure,
        seen.scene,
        cut,
        lends=read["hair_style"] != _HIDES_BODY,
        head=read["face"],
        hat=hat,
        hair=hair,
        face_moves=read["action"] in OF_THE_FACE,
    )
    outfit = Outfit(colour=read["top_colour"], garment=read["garment"], hat=read["hat"])
    return CutPerson(member, seen.embedding, outfit, read["action"])


def _make(path: Path, videos: Sequence[Path], reader: TinyBaseReader, executor: concurrent.futures.Executor) -> None:
    """Reads and cuts the people of some videos and writes them to `path`."""
    frames = [_read(video, FRAMES_OF_OTHERS) for video in videos]
    shown = [(video, clip, people[0]) for video, clip, people in zip(videos, frames, reader.watch_many(frames), strict=True) if people]
    cuts = list(executor.map(_cut, [clip for _, clip, _ in shown], [seen for _, _, seen in shown]))
    arrays: dict[str, np.ndarray] = {"videos": np.array([video.name for video in videos])}
    for number, ((video, _, seen), cut) in enumerate(zip(shown, cuts, strict=True)):
        arrays |= {f"{number}/{name}": np.asarray(value) for name, value in cut._asdict().items()}
        arrays |= {f"{number}/reads/{name}": value for name, value in seen.probabilities.items()}
        arrays |= {f"{number}/key": np.array(sha256_of(video)), f"{number}/scene": np.array(seen.scene)}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    write_atomically(path, file.getvalue())


def _load(path: Path, names: Sequence[str]) -> list[CutPerson] | None:
    """The people in a file of `_make`; None where it is of other videos."""
    with np.load(path) as arrays:
        if arrays["videos"].tolist() != list(names):
            return None
        people = []
        number = 0
        while f"{number}/key" in arrays:
            cut = CutOut(*(arrays[f"{number}/{name}"] for name in CutOut._fields))
            reads = {name: arrays[f"{number}/reads/{name}"] for name in PERSON_CLASSES}
            seen = Seen(np.empty(0), np.empty(0), reads, str(arrays[f"{number}/scene"]))
            people.append(_person(str(arrays[f"{number}/key"]), seen, cut))
            number += 1
        return people
