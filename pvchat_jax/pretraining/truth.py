"""The exact truth of a drawn video as arrays of class numbers: the dense labels of pretraining."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pvchat_jax.world.actions import ACTIONS
from pvchat_jax.world.people import GARMENTS, HATS, IDENTITY_VALUES, TOP_COLOURS
from pvchat_jax.world.plan import POSITIONS, Person, VideoPlan
from pvchat_jax.world.scenes import SCENES
from pvchat_jax.world.shapes import UNITS
from pvchat_jax.world.staging import Placed, face_position, head_position, limb, stage, track

# What is read off a person; the order is that of the columns of `Labels.person`.
PERSON_CLASSES: Mapping[str, tuple[str, ...]] = {
    **IDENTITY_VALUES,
    "top_colour": TOP_COLOURS,
    "garment": GARMENTS,
    "hat": HATS,
    "action": tuple(ACTIONS),
}
SCENE_CLASSES = tuple(SCENES)
PLACES = POSITIONS  # somebody who walks across counts as `centre`
MAX_PEOPLE = 2
POINTS = ("head", "face", "left hand", "right hand")  # left and right as the viewer sees them
# Limits, in units, between the classes of a pose in one frame. They are classes because the same numbers, to be regressed, were
# not learnt (R2 of 0 for whatever moves sideways).
POSE_LIMITS: Mapping[str, tuple[float, ...]] = {
    "turn": (-8.0, -3.0, 3.0, 8.0),  # of the face, left to right
    "tilt": (-2.0, 2.0, 6.0),  # of the face, up to down
    "lean": (-6.0, -2.0, 2.0, 6.0),  # of the head against the body
    "bow": (2.5, 6.0, 9.0, 13.0),  # of the head, up to down
    "across": (24.0, 36.0, 48.0, 58.0, 70.0, 80.0, 92.0, 104.0),  # the body's middle in the picture
    "height": (-14.0, -8.0, -2.0, 4.0),  # of the body, up to down
    **{
        f"{side} hand {way}": limits
        for side in ("left", "right")
        for way, limits in (("out", (0.0, 10.0, 20.0, 30.0)), ("up", (-46.0, -25.0, 0.0, 25.0)))
    },
}
POSE_CLASSES: Mapping[str, int] = {name: len(limits) + 1 for name, limits in POSE_LIMITS.items()}


class Labels(NamedTuple):
    """Truth of one video, of T frames and up to `MAX_PEOPLE` people, -1 and 0 where there is nobody.

    Attributes:
      person: int8[P, C], class numbers in the order of `PERSON_CLASSES`.
      place: int8[P], index into `PLACES`.
      scene: int8[].
      heads, bodies: float32[P, T, 4], boxes (left, top, right, bottom) as shares of the picture.
      points: float32[P, T, 4, 2], x and y of `POINTS` as shares of the picture.
      poses: int8[P, T, 10], class numbers in the order of `POSE_CLASSES`.
    """

    person: np.ndarray
    place: np.ndarray
    scene: np.ndarray
    heads: np.ndarray
    bodies: np.ndarray
    points: np.ndarray
    poses: np.ndarray


def labels_of(plan: VideoPlan, frames: tuple[int, ...]) -> Labels:
    """The truth of some frames of a video."""
    shape = (MAX_PEOPLE, len(frames))
    labels = Labels(
        person=np.full((MAX_PEOPLE, len(PERSON_CLASSES)), -1, np.int8),
        place=np.full(MAX_PEOPLE, -1, np.int8),
        scene=np.int8(SCENE_CLASSES.index(plan.scene)),
        heads=np.zeros((*shape, 4), np.float32),
        bodies=np.zeros((*shape, 4), np.float32),
        points=np.zeros((*shape, len(POINTS), 2), np.float32),
        poses=np.full((*shape, len(POSE_CLASSES)), -1, np.int8),
    )
    people = [person for person in (plan.person, plan.bystander) if person is not None]
    for index, (person, placed) in enumerate(zip(people, stage(plan, frames, shutter=False).people, strict=True)):
        boxes = track(placed)
        labels.person[index] = person_classes(person)
        labels.place[index] = PLACES.index(person.position or "centre")
        labels.heads[index] = boxes.head / UNITS
        labels.bodies[index] = boxes.body / UNITS
        labels.points[index] = _points(placed) / UNITS
        labels.poses[index] = _pose_classes(placed)
    return labels


def person_classes(person: Person) -> list[int]:
    """Class numbers in the order of `PERSON_CLASSES`."""
    values = {name: getattr(person.identity, name) for name in IDENTITY_VALUES}
    values |= {"top_colour": person.outfit.colour, "garment": person.outfit.garment, "hat": person.outfit.hat, "action": person.action}
    return [classes.index(values[name]) for name, classes in PERSON_CLASSES.items()]


def _points(placed: Placed) -> np.ndarray:
    """Where `POINTS` are at each of T moments: float[T, 4, 2] in units."""
    points = (head_position(placed), face_position(placed), limb(placed, 0).hand, limb(placed, 1).hand)
    return np.stack([np.stack(point, axis=-1) for point in points], axis=-2)


def _pose_classes(placed: Placed) -> np.ndarray:
    """How the body is held at each of T moments: int[T, 10] class numbers in the order of `POSE_CLASSES`."""
    pose = placed.pose
    numbers = [pose.face_x, pose.face_y, pose.head_x, pose.head_y, placed.x + placed.scale * pose.x, pose.y]
    numbers += [value for arm in pose.arms for value in (arm.out, arm.up)]
    return np.stack([np.digitize(value, limits) for value, limits in zip(numbers, POSE_LIMITS.values(), strict=True)], axis=-1)
