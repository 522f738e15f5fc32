"""Who of several people is seen in a clip."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.video import read_frames
from pvchat_jax.synthesis.faces.reader import Face, FaceReader
from pvchat_jax.synthesis.records import Clip
from pvchat_jax.synthesis.stages import StageStore, Work, digest_of

RECOGNISE = "recognise"
_LOOKED_AT = 8  # frames of a clip
_SEEN_SHARE = 0.5  # of them, in which somebody who is there is recognised


class Sight(NamedTuple):
    """Whether somebody is seen.

    Attributes:
      present: None where that is doubtful.
      similarity: the highest of any face in the clip. x: middle of the face, as a share of the picture's width.
    """

    present: bool | None
    similarity: float
    x: float


class Sights(NamedTuple):
    """What was seen of each of several people, by name, and the middle `x` of the face that is seen best, whoever that is."""

    by_name: dict[str, Sight]
    x: float


def recognise(store: StageStore, folder: Path, clip: Clip, people: Mapping[str, np.ndarray], reader: FaceReader) -> Sights:
    """Looks for `people`, embeddings float32[D] by name, in a clip whose video lies in `folder`; kept in `store`."""
    known = digest_of({name: embedding.tolist() for name, embedding in people.items()})
    work = Work(
        stage=RECOGNISE,
        version=1,
        tool=reader.name,
        inputs={"clip": clip.sha256, "people": known},
        settings={"same_person": reader.same_person},
    )
    kept = store.find(work)
    if kept is None:
        start = time.monotonic()
        frames = read_frames(folder / clip.video, _LOOKED_AT).frames
        found = look_for(frames, people, reader)
        kept = {"x": found.x, "people": {name: list(sight) for name, sight in found.by_name.items()}}
        store.keep(work, kept, seconds=time.monotonic() - start)
    return Sights({name: Sight(*kept["people"][name]) for name in people}, kept["x"])


def look_for(frames: np.ndarray, people: Mapping[str, np.ndarray], reader: FaceReader) -> Sights:
    """As `recognise`, in frames uint8[T, H, W, 3]."""
    width = frames.shape[2]
    found = reader.read(list(frames))
    by_name = {name: _sight(found, embedding, reader.same_person, width) for name, embedding in people.items()}
    return Sights(by_name, _middle([faces[0] for faces in found if faces], width))


def _sight(found: Sequence[Sequence[Face]], embedding: np.ndarray, same_person: float, width: int) -> Sight:
    best = [max(faces, key=lambda face: float(face.embedding @ embedding)) for faces in found if faces]
    similarity = [float(face.embedding @ embedding) for face in best]
    seen = [face for face, alike in zip(best, similarity, strict=True) if alike >= same_person]
    present = True if len(seen) >= _SEEN_SHARE * len(found) else None if seen else False
    return Sight(present, max(similarity, default=-1.0), _middle(seen, width))


def _middle(faces: Sequence[Face], width: int) -> float:
    """Of the picture's width; the picture's own middle where there is no face."""
    return float(np.median([(face.box[0] + face.box[2]) / (2 * width) for face in faces])) if faces else 0.5
