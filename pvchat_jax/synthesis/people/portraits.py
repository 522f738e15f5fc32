"""The best pictures of a person: sharp, frontal, large, with open eyes, well lit, and from different moments."""

from collections.abc import Sequence

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.records import Person, Sighting, Source
from pvchat_jax.synthesis.watch.watching import read_frames_at

_LOWEST_SHARPNESS = 0.12  # a photographed face of 100 pixels, blurred with a deviation of 2 pixels
_MOMENT = 0.5  # seconds that two portraits are apart, as far as there are enough
_MARGIN = 1.1  # times the side of the face that a portrait reaches from its middle: the head, hair and shoulders
_DOWN = 0.15  # times the side of the face that the middle of a portrait lies below that of the face


def best_sightings(person: Person, count: int) -> list[Sighting]:
    """At most `count` sightings by quality, best first; those within half a second of a better one come after all others."""
    sightings = (sighting for track in person.tracks for sighting in track)
    ranked = sorted(sightings, key=lambda sighting: (-sighting.score * sighting.total_quality, sighting.time))
    chosen: list[Sighting] = []
    for sighting in ranked:
        if len(chosen) == count:
            return chosen
        if all(abs(sighting.time - other.time) >= _MOMENT for other in chosen):
            chosen.append(sighting)
    return (chosen + [sighting for sighting in ranked if sighting not in chosen])[:count]


def best_portraits(source: Source, person: Person, count: int, fewest_pixels: int) -> tuple[np.ndarray, ...]:
    """At most `count` square pictures of head and shoulders, uint8[S, S, 3] in RGB, best first.

    Raises:
      UserError: the person is nowhere large and sharp enough.
    """
    require_clear_face(source, person, fewest_pixels)
    return portraits_at(source, best_sightings(person, count))


def portraits_at(source: Source, sightings: Sequence[Sighting]) -> tuple[np.ndarray, ...]:
    """The square picture of head and shoulders at each sighting, uint8[S, S, 3] in RGB, smaller where the frame ends."""
    frames = read_frames_at(source, [sighting.time for sighting in sightings])
    return tuple(_portrait(frame, sighting.box) for frame, sighting in zip(frames, sightings, strict=True))


def require_clear_face(source: Source, person: Person, fewest_pixels: int) -> None:
    """Checks that there is something to start from.

    Raises:
      UserError: the person's face is too small or too blurred in every sighting.
    """
    sightings = [sighting for track in person.tracks for sighting in track]
    sides = [min(box[2] - box[0], box[3] - box[1]) for box in (sighting.box for sighting in sightings)]
    if max(sides) < fewest_pixels:
        raise UserError(
            f"the face of person {person.index} in {source.video} is at most {max(sides):.0f} pixels wide, and {fewest_pixels} are "
            "needed; film from nearer or in a higher resolution."
        )
    sharpest = max(sighting.quality.get("sharpness", 1.0) for sighting, side in zip(sightings, sides, strict=True) if side >= fewest_pixels)
    if sharpest < _LOWEST_SHARPNESS:
        raise UserError(
            f"the face of person {person.index} in {source.video} is blurred in every frame (sharpness {sharpest:.2f} of "
            f"{_LOWEST_SHARPNESS} needed); film with more light, a clean lens and less movement."
        )


def _portrait(frame: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    height, width = frame.shape[:2]
    face = max(box[2] - box[0], box[3] - box[1])
    side = min(round(2 * _MARGIN * face), width, height)
    left = round((box[0] + box[2] - side) / 2)
    top = round((box[1] + box[3] - side) / 2 + _DOWN * face)
    left = min(max(0, left), width - side)
    top = min(max(0, top), height - side)
    return frame[top : top + side, left : left + side].copy()
