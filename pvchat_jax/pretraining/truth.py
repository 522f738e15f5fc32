"""The exact truth of a drawn video as arrays of class numbers: the dense labels of pretraining."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pvchat_jax.world.actions import ACTIONS, Pose
from pvchat_jax.world.people import GARMENTS, HATS, IDENTITY_VALUES, TOP_COLOURS
from pvchat_jax.world.plan import POSITIONS, Person, VideoPlan
from pvchat_jax.world.scenes import SCENES
from pvchat_jax.world.shapes import UNITS
from pvchat_jax.world.staging import Placed, stage, track

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
# Offsets of head, face and body and the two hands, each divided by its typical size.
POSE_SCALES = (20.0, 20.0, 10.0, 10.0, 10.0, 10.0, 50.0, 50.0, 50.0, 50.0)


class Labels(NamedTuple):
    """Truth of one video, of T frames and up to `MAX_PEOPLE` people, -1 and 0 where there is nobody.

    Attributes:
      person: int8[P, C], class numbers in the order of `PERSON_CLASSES`.
      place: int8[P], index into `PLACES`.
      scene: int8[].
      heads, bodies: float32[P, T, 4], boxes (left, top, right, bottom) as shares of the picture.
      poses: float32[P, T, 10], in units of `POSE_SCALES`.
    """

    person: np.ndarray
    place: np.ndarray
    scene: np.ndarray
    heads: np.ndarray
    bodies: np.ndarray
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
        poses=np.zeros((*shape, len(POSE_SCALES)), np.float32),
    )
    people = [person for person in (plan.person, plan.bystander) if person is not None]
    for index, (person, placed) in enumerate(zip(people, stage(plan, frames, shutter=False).people, strict=True)):
        boxes = track(placed)
        labels.person[index] = person_classes(person)
        labels.place[index] = PLACES.index(person.position or "centre")
        labels.heads[index] = boxes.head / UNITS
        labels.bodies[index] = boxes.body / UNITS
        labels.poses[index] = _pose_numbers(placed)
    return labels


def person_classes(person: Person) -> list[int]:
    """Class numbers in the order of `PERSON_CLASSES`."""
    values = {name: getattr(person.identity, name) for name in IDENTITY_VALUES}
    values |= {"top_colour": person.outfit.colour, "garment": person.outfit.garment, "hat": person.outfit.hat, "action": person.action}
    return [classes.index(values[name]) for name, classes in PERSON_CLASSES.items()]


def _pose_numbers(placed: Placed) -> np.ndarray:
    pose: Pose = placed.pose
    columns = [pose.x, pose.y, pose.head_x, pose.head_y, pose.face_x, pose.face_y]
    columns += [value for arm in pose.arms for value in (arm.out, arm.up)]
    return np.stack(columns, axis=-1).astype(np.float32) / np.asarray(POSE_SCALES, np.float32)
