"""Where everything is in each frame of a video: light, camera and people, before a pixel is painted.

It depends on the plan alone, and it is the exact truth per frame that records carry.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.world.actions import ACTIONS, CLIP_SECONDS, GAITS, Pose
from pvchat_jax.world.people import Identity, Outfit
from pvchat_jax.world.plan import Person, VideoPlan
from pvchat_jax.world.shapes import UNITS, FloatArray

FRAMES_PER_SECOND = 8
NUM_FRAMES = round(CLIP_SECONDS * FRAMES_PER_SECOND)
HALF_SHOULDERS: Mapping[str, float] = {"slim": 27.0, "broad": 42.0}
HEAD_RADII: Mapping[str, tuple[float, float]] = {"round": (28.5, 21.0), "long": (18.0, 30.0), "square": (24.0, 25.0)}
CHIN_Y = 84.0
SHOULDER_Y = 90.0
BONE = 29.0  # upper arm and forearm
# Multiples of 16, the patches of a 64-pixel picture, so that what a patch shows is the same in all three places.
BODY_X: Mapping[str | None, float] = {"left": 32.0, "centre": 64.0, "right": 96.0, None: 64.0}
SLOW_SHUTTER_PROBABILITY = 0.2
SLOW_SHUTTER = (0.0, 0.04)  # what a blurred frame is the mean of, in seconds after the frame's time

_STREAM = 2  # apart from the backgrounds' and the questions' draws


class Placed(NamedTuple):
    """One person in the picture over T moments; `x` is float[T] in units, `y` and `scale` are constant."""

    identity: Identity
    outfit: Outfit
    pose: Pose
    x: FloatArray
    y: float
    scale: float


class Staging(NamedTuple):
    """A video at T moments: T is frames times exposures, the exposures of a frame side by side.

    Attributes:
      camera: float[T], its position in units to the right. brightness: float[T], a factor on all colours.
      people: the subject, or who is there instead, and then the bystander, if there is one.
      num_exposures: moments that a frame is the mean of.
    """

    camera: FloatArray
    brightness: FloatArray
    people: tuple[Placed, ...]
    num_exposures: int


class Limb(NamedTuple):
    """Joints of an arm, each a pair of x and y, float[T] in units."""

    shoulder: tuple[FloatArray, FloatArray]
    elbow: tuple[FloatArray, FloatArray]
    hand: tuple[FloatArray, FloatArray]


class Track(NamedTuple):
    """Where a person is: boxes float[T, 4] of left, top, right, bottom in units, which may reach outside the picture.

    Attributes:
      head: the skull, without hair and hat.
      body: from the top of the head down, as wide as shoulders or head.
    """

    head: FloatArray
    body: FloatArray


def stage(plan: VideoPlan, frames: Sequence[int] = range(NUM_FRAMES), *, shutter: bool = True) -> Staging:
    """Arranges some frames of a video; without `shutter` each frame is its first moment alone."""
    rng = np.random.default_rng([plan.seed, _STREAM])
    exposures = SLOW_SHUTTER if rng.random() < SLOW_SHUTTER_PROBABILITY and shutter else (0.0,)
    starts = np.asarray(frames, np.float32) / np.float32(FRAMES_PER_SECOND)
    time = np.add.outer(starts, np.asarray(exposures, np.float32)).reshape(-1)
    camera = (rng.uniform(1.0, 4.0) * np.sin(2 * np.pi * (0.3 * time + rng.random()))).astype(np.float32)
    brightness = rng.uniform(0.9, 1.04) + 0.05 * np.sin(2 * np.pi * (0.35 * time + rng.random()))
    people = [person for person in (plan.person, plan.bystander) if person is not None]
    placed = tuple(_place(person, time, camera, rng) for person in people)
    return Staging(camera, brightness.astype(np.float32), placed, len(exposures))


def _place(person: Person, time: FloatArray, camera: FloatArray, rng: np.random.Generator) -> Placed:
    free_side = {"left": 1, "right": 0}.get(person.position or "", int(rng.integers(2)))
    pose = GAITS[person.identity.gait](ACTIONS[person.action](time, rng, free_side), time, float(rng.random()))
    scale = float(rng.uniform(0.95, 1.05))
    x = BODY_X[person.position] + float(rng.uniform(-2, 2)) - 0.4 * camera
    return Placed(person.identity, person.outfit, pose, x.astype(np.float32), float(rng.uniform(-2, 4)), scale)


def head_position(placed: Placed) -> tuple[FloatArray, FloatArray]:
    """Centre of the head, x and y, float[T] each in units."""
    pose, scale = placed.pose, placed.scale
    x = placed.x + scale * (pose.x + pose.head_x)
    return x, placed.y + scale * (pose.y + pose.head_y) + CHIN_Y - HEAD_RADII[placed.identity.face][1] * scale


def face_position(placed: Placed) -> tuple[FloatArray, FloatArray]:
    """Centre of the face, which moves within the head as it turns and nods; like `head_position`."""
    x, y = head_position(placed)
    scale, pose = placed.scale, placed.pose
    return x + scale * pose.face_x * (HEAD_RADII[placed.identity.face][0] / 25.0), y + scale * pose.face_y


def limb(placed: Placed, side: int) -> Limb:
    """The arm on the viewer's left (`side` 0) or right (1); the elbow follows from the hand, bent outwards."""
    arm, scale, sign = placed.pose.arms[side], placed.scale, 2.0 * side - 1.0
    joint = (HALF_SHOULDERS[placed.identity.build] - 7) * scale
    start_x = placed.x + scale * placed.pose.x + sign * joint
    start_y = placed.y + scale * placed.pose.y + SHOULDER_Y + 9 * scale
    reach_x = scale * arm.out - joint * arm.meet  # outwards from the joint
    reach_y = -scale * arm.up
    length = np.maximum(np.hypot(reach_x, reach_y), np.float32(1e-3))
    bone = BONE * scale
    stretch = np.minimum(1.0, (2 * bone - 0.5) / length)
    reach_x, reach_y, length = reach_x * stretch, reach_y * stretch, length * stretch
    bend = np.sqrt(bone**2 - np.square(length / 2))
    outwards = np.where(reach_y > 0, 1.0, -1.0)  # the side of the line to the hand on which the elbow is
    elbow_x = reach_x / 2 + outwards * bend * reach_y / length
    elbow_y = reach_y / 2 - outwards * bend * reach_x / length
    elbow, hand = (start_x + sign * elbow_x, start_y + elbow_y), (start_x + sign * reach_x, start_y + reach_y)
    return Limb((start_x, start_y), elbow, hand)


def track(placed: Placed) -> Track:
    """Boxes of a person at every moment."""
    head_x, head_y = head_position(placed)
    radius_x, radius_y = (placed.scale * radius for radius in HEAD_RADII[placed.identity.face])
    half = HALF_SHOULDERS[placed.identity.build] * placed.scale
    body_x = placed.x + placed.scale * placed.pose.x
    head = np.stack([head_x - radius_x, head_y - radius_y, head_x + radius_x, head_y + radius_y], axis=-1)
    left, right = np.minimum(head[:, 0], body_x - half), np.maximum(head[:, 2], body_x + half)
    body = np.stack([left, head[:, 1], right, np.full_like(left, UNITS)], axis=-1)
    return Track(head.astype(np.float32), body.astype(np.float32))


def spread_frames(number: int, num_frames: int) -> tuple[int, ...]:
    """`num_frames` frames of a video, evenly spaced; the first of them varies with `number`."""
    stride = NUM_FRAMES // num_frames
    return tuple(range(number % stride, NUM_FRAMES, stride))[:num_frames]


def frame_truth(plan: VideoPlan, frames: Sequence[int] = range(NUM_FRAMES)) -> dict[str, Any]:
    """What holds in each of `frames`, as JSON values.

    `head` and `bystander_head` are boxes [left, top, right, bottom] as shares of the picture (`bystander_head` is null where
    there is nobody), `brightness` is the factor of the light, `camera` its shift as a share of the picture's width.
    """
    staging = stage(plan, frames, shutter=False)
    heads = [np.round(track(placed).head / UNITS, 4).tolist() for placed in staging.people]
    return {
        "head": heads[0],
        "bystander_head": heads[1] if len(heads) > 1 else None,
        "brightness": np.round(staging.brightness, 4).tolist(),
        "camera": np.round(staging.camera / UNITS, 4).tolist(),
    }
