"""Whether a generated clip may be used: it moves, and it shows one person, who is the right one."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.data.near_duplicates import MIN_DISTANCE, hash_clip, thumbnails
from pvchat_jax.synthesis.faces.reader import Face, FaceReader

REJECTIONS = ("short", "flat", "frozen", "duplicate", "no_face", "other_person", "drift", "twice", "shows_subject")
_MOVING_SHARE = 0.05  # of the pixels, those that change most
_SAME_FACE = 0.5  # overlap (intersection over union) of boxes that are one face found twice


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckLimits:
    """What a clip must reach.

    Attributes:
      min_frames: in all. num_read: frames in which faces are looked for.
      min_contrast: standard deviation of a frame's grey values (of 255), below which it is black or of one colour.
      min_motion: mean change (of 255) of the twentieth of the picture that changes most, against the first frame. Stills with noise and
        compression stay below 4.8, and a blink in a portrait makes 12.
      min_distance: share of bits by which the hash must differ from those of all accepted clips.
      min_face_share: of the frames in which a face is found.
    """

    min_frames: int = 8
    num_read: int = 8
    min_contrast: float = 6.0
    min_motion: float = 5.0
    min_distance: float = MIN_DISTANCE
    min_face_share: float = 0.5


class ClipCheck(NamedTuple):
    """What was measured, as JSON values, with the `kind` of rejection in `checks["rejected_as"]`; `rejected` is the reason or empty."""

    checks: dict[str, Any]
    rejected: str


def check_clip(
    frames: np.ndarray,
    embedding: Sequence[float],
    reader: FaceReader,
    *,
    unlike: Sequence[float] | None = None,
    still: bool = False,
    limits: CheckLimits | None = None,
) -> ClipCheck:
    """Measures a clip; faces are read only if the pictures themselves pass.

    Args:
      frames: uint8[T, H, W, 3].
      embedding: float[D] of length 1, of the person that the clip is to show, by `reader`.
      unlike: of the subject, for a clip of somebody else: no face may be theirs, lest a clip labelled "absent" shows them.
      still: whether the clip is meant to be one picture.
      limits: what a clip must reach.
    """
    limits = limits or CheckLimits()
    checks, failure = _check_pictures(frames, still, limits)
    if failure is None:
        measured, failure = _check_faces(frames, np.asarray(embedding), unlike, reader, limits)
        checks |= measured
    kind, reason = failure or ("", "")
    return ClipCheck({**checks, "rejected_as": kind}, reason)


def count_rejections(checks: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many clips were rejected, by kind, in the order of `REJECTIONS`; from `ClipCheck.checks` or `Clip.checks`."""
    counts = collections.Counter(check.get("rejected_as", "") for check in checks)
    return {kind: counts[kind] for kind in REJECTIONS if counts[kind]}


def _check_pictures(frames: np.ndarray, still: bool, limits: CheckLimits) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """Measures what needs no face, and says (kind, reason) of what is wrong."""
    if len(frames) < limits.min_frames:
        return {"num_frames": len(frames)}, ("short", f"the clip has {len(frames)} frames, fewer than {limits.min_frames}.")
    small = thumbnails(frames)
    contrast = float(small.std(axis=(1, 2)).min())
    motion = _motion(small)
    checks = {
        "num_frames": len(frames),
        "contrast": round(contrast, 3),
        "motion": round(motion, 3),
        "hash": hash_clip(frames),  # for `repetitions`
    }
    if contrast < limits.min_contrast:
        return checks, ("flat", f"a frame is black or of one colour: its contrast is {contrast:.1f} of 255, below {limits.min_contrast:g}.")
    if not still and motion < limits.min_motion:
        return checks, ("frozen", f"the picture stands still: it changes by {motion:.1f} of 255, less than {limits.min_motion:g}.")
    return checks, None


def _motion(small: np.ndarray) -> float:
    """Mean change of the pixels that change most, in the thumbnail float[T, S, S] that differs most from the first one."""
    changes = np.sort(np.abs(small - small[:1]).reshape(len(small), -1), axis=1)
    return float(changes[:, -round(_MOVING_SHARE * changes.shape[1]) :].mean(1).max())


def _check_faces(
    frames: np.ndarray, embedding: np.ndarray, unlike: Sequence[float] | None, reader: FaceReader, limits: CheckLimits
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """As `_check_pictures`, for who is in the clip."""
    times = np.unique(np.linspace(0, len(frames) - 1, limits.num_read).round().astype(int))
    found = [faces for faces in reader.read([frames[time] for time in times]) if faces]
    share = len(found) / len(times)
    best = [max(_similarities(faces, embedding)) for faces in found]
    similarity = float(np.median(best)) if best else -1.0
    lower_quarter = float(np.quantile(best, 0.25)) if best else -1.0
    matches = max((_count_matches(faces, embedding, reader.same_person) for faces in found), default=0)
    checks: dict[str, Any] = {
        "face_share": round(share, 3),
        "identity_similarity": round(similarity, 4),
        "lower_quarter_similarity": round(lower_quarter, 4),
        "num_matches": matches,
    }
    subject = None if unlike is None else max((max(_similarities(faces, np.asarray(unlike))) for faces in found), default=-1.0)
    if subject is not None:
        checks["subject_similarity"] = round(subject, 4)
    if share < limits.min_face_share:
        return checks, ("no_face", f"a face is found in only {len(found)} of {len(times)} frames.")
    if subject is not None and subject >= reader.same_person:
        why = (
            f"a face in this clip of somebody else is taken for the subject: similarity {subject:.2f}, not below {reader.same_person:.2f}."
        )
        return checks, ("shows_subject", why)
    if similarity < reader.same_person:
        why = f"the face is not that of the person: similarity {similarity:.2f}, below {reader.same_person:.2f}."
        return checks, ("other_person", why)
    if lower_quarter < reader.alike:
        why = f"the face changes: in a quarter of the frames the similarity is {lower_quarter:.2f} at most, below {reader.alike:.2f}."
        return checks, ("drift", why)
    if matches > 1:
        return checks, ("twice", f"{matches} faces in one frame are taken for the person.")
    return checks, None


def _similarities(faces: Sequence[Face], embedding: np.ndarray) -> list[float]:
    """Cosine similarity of each face with `embedding`."""
    return [float(np.dot(face.embedding, embedding)) for face in faces]


def _count_matches(faces: Sequence[Face], embedding: np.ndarray, same_person: float) -> int:
    """Faces of the person at different places of a frame."""
    kept: list[Face] = []
    for face, similarity in zip(faces, _similarities(faces, embedding), strict=True):
        if similarity >= same_person and all(_overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return len(kept)


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return intersection / max(areas - intersection, 1e-9)
