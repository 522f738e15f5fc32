"""Who of several people is seen in a clip."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.video import read_frames
from pvchat_jax.synthesis.faces.reader import Face, FaceReader
from pvchat_jax.synthesis.joining.arranging import read_shots
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
    """What was seen.

    Attributes:
      by_name: of each of several people.
      x, width: middle and width of the face that is seen best, whoever that is, as shares of the picture's width; the picture's middle,
        and a width of 0, where there is no face.
    """

    by_name: dict[str, Sight]
    x: float
    width: float


def recognise(
    store: StageStore, folder: Path, clip: Clip, people: Mapping[str, np.ndarray], reader: FaceReader, num_shots: int = 1
) -> Sights:
    """Looks for `people`, embeddings float32[D] by name, in each shot of a clip whose video lies in `folder`; kept in `store`."""
    known = digest_of({name: embedding.tolist() for name, embedding in people.items()})
    work = Work(
        stage=RECOGNISE,
        version=2,
        tool=reader.name,
        inputs={"clip": clip.sha256, "people": known},
        settings={"same_person": reader.same_person, "num_shots": num_shots},
    )
    kept = store.find(work)
    if kept is None:
        start = time.monotonic()
        found = _look_for(_shots(folder / clip.video, num_shots), people, reader)
        kept = {**found._asdict(), "by_name": {name: list(sight) for name, sight in found.by_name.items()}}
        store.keep(work, kept, seconds=time.monotonic() - start)
    return Sights({name: Sight(*kept["by_name"][name]) for name in people}, kept["x"], kept["width"])


def _shots(video: Path, num_shots: int) -> list[np.ndarray]:
    """Frames of each shot."""
    if num_shots == 1:
        return [read_frames(video, _LOOKED_AT).frames]
    return [frames[:: -(-len(frames) // _LOOKED_AT)] for frames in read_shots(video, num_shots)]


def _look_for(shots: Sequence[np.ndarray], people: Mapping[str, np.ndarray], reader: FaceReader) -> Sights:
    """As `recognise`, in the frames uint8[T, H, W, 3] of each shot."""
    columns = shots[0].shape[2]
    found = [reader.read(list(frames)) for frames in shots]
    by_name = {
        name: max((_sight(faces, embedding, reader.same_person, columns) for faces in found), key=_certainty)
        for name, embedding in people.items()
    }
    best = [faces[0] for shot in found for faces in shot if faces]
    width = float(np.median([face.box[2] - face.box[0] for face in best])) / columns if best else 0.0
    return Sights(by_name, _middle(best, columns), width)


def _certainty(sight: Sight) -> tuple[int, float]:
    """Orders what was seen of somebody in several shots: not at all, perhaps, for certain."""
    return (False, None, True).index(sight.present), sight.similarity


def _sight(found: Sequence[Sequence[Face]], embedding: np.ndarray, same_person: float, columns: int) -> Sight:
    best = [max(faces, key=lambda face: float(face.embedding @ embedding)) for faces in found if faces]
    similarity = [float(face.embedding @ embedding) for face in best]
    seen = [face for face, alike in zip(best, similarity, strict=True) if alike >= same_person]
    present = True if len(seen) >= _SEEN_SHARE * len(found) else None if seen else False
    return Sight(present, max(similarity, default=-1.0), _middle(seen, columns))


def _middle(faces: Sequence[Face], columns: int) -> float:
    """Of the picture's width; the picture's own middle where there is no face."""
    return float(np.median([(face.box[0] + face.box[2]) / (2 * columns) for face in faces])) if faces else 0.5
