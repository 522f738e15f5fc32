"""The best frame of a clip, on which stage 1 trains."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from pvchat_jax.data.records import Question
from pvchat_jax.data.video import read_frames
from pvchat_jax.synthesis.exporting.training_set import UsedClip
from pvchat_jax.synthesis.faces.reader import Face, FaceReader
from pvchat_jax.synthesis.people.quality import face_quality
from pvchat_jax.synthesis.records import Clip, sha256_of
from pvchat_jax.synthesis.stages import StageStore, Work
from pvchat_jax.synthesis.watch.watching import write_clip

STILL = "still"
STILLS_FOLDER = "stills"
_VERSION = 1  # raise it to have frames chosen anew
_LOOKED_AT = 8  # frames of the clip
_LOWEST = 0.01  # a quality that is 0 in all frames shall not make them equal


def with_still(
    store: StageStore, split: str, clip: Clip, questions: tuple[Question, ...], reader: FaceReader, advance: Callable[[], None]
) -> UsedClip:
    """The clip with a one-frame video of its best frame, where it is for training."""
    advance()
    if split != "train":
        return UsedClip(clip=clip, split=split, questions=questions)
    work = Work(stage=STILL, version=_VERSION, tool=reader.name, inputs={"clip": clip.sha256}, settings={"name": clip.name})
    kept = store.find(work)
    if kept is None:
        start = time.monotonic()
        frames = read_frames(store.folder / clip.video, _LOOKED_AT).frames
        still = f"{STILLS_FOLDER}/{clip.name}.mp4"
        path = store.folder / still
        index = best_frame(frames, reader.read(list(frames)))
        write_clip(path, frames[index : index + 1], 1.0)
        kept = {"still": still, "sha256": sha256_of(path), "frame": index}
        store.keep(work, kept, {still: kept["sha256"]}, seconds=time.monotonic() - start)
    return UsedClip(clip=clip, split=split, questions=questions, still=kept["still"], still_sha256=kept["sha256"])


def best_frame(frames: np.ndarray, faces: Sequence[Sequence[Face]]) -> int:
    """Number of the frame of uint8[T, H, W, 3] whose largest face is of the best quality; the middle one where there is no face."""
    worths = [_worth(frame, found) for frame, found in zip(frames, faces, strict=True)]
    return int(np.argmax(worths)) if max(worths) > 0 else len(frames) // 2


def _worth(frame: np.ndarray, faces: Sequence[Face]) -> float:
    if not faces:
        return 0.0
    face = max(faces, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
    return face.score * math.prod(max(value, _LOWEST) for value in face_quality(frame, face).values())
