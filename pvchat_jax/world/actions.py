"""What people do and how they carry themselves: an action is a function of time that returns a pose for every frame, a gait changes it.

`free_side` is the arm (0 on the viewer's left, 1 on the right) with more room to the edge of the picture.

Periods are chosen so that neither 4 nor 8 evenly spaced frames of a two-second clip meet an action at the same phase every time,
and movements are at least 6 units (3 pixels of a 64-pixel picture) wide.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from pvchat_jax.world.shapes import FloatArray

CLIP_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """Where a hand is, in units, each float[T].

    Attributes:
      out: distance outwards from the point below the shoulder joint (negative: towards the chest).
      up: height above the shoulder joint.
      meet: 0 measures `out` from the shoulder, 1 from the body's centre line, so that hands can meet whatever the build.
    """

    out: FloatArray
    up: FloatArray
    meet: FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pose:
    """A body over time, in units, each float[T]: offsets of the body, of the head on it and of the face on the head."""

    x: FloatArray
    y: FloatArray
    head_x: FloatArray
    head_y: FloatArray
    face_x: FloatArray
    face_y: FloatArray
    arms: tuple[Arm, Arm]  # on the viewer's left, right


def _wave(time: FloatArray, frequency: float, phase: float) -> FloatArray:
    return np.sin(2 * np.pi * (frequency * time + phase)).astype(np.float32)


def _arm(time: FloatArray, out: float | FloatArray = 5.0, up: float | FloatArray = -54.0, meet: float = 0.0) -> Arm:
    still = np.zeros_like(time)
    return Arm(out=still + np.float32(out), up=still + np.float32(up), meet=still + np.float32(meet))


def _pose(time: FloatArray, arms: tuple[Arm, Arm] | None = None, **changes: FloatArray) -> Pose:
    still = np.zeros_like(time)
    values = {name: still for name in ("x", "y", "head_x", "head_y", "face_x", "face_y")} | changes
    return Pose(arms=arms or (_arm(time), _arm(time)), **values)


def _stand(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    return _pose(time, y=0.6 * _wave(time, 0.4, rng.random()))


def _wave_hand(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    waving = _arm(time, out=20 + 13 * _wave(time, 1.25, rng.random()), up=44.0)
    resting = _arm(time)
    return _pose(time, arms=(waving, resting) if free_side == 0 else (resting, waving))


def _jump(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    height = np.abs(_wave(time, 0.62, rng.random()))
    arm = _arm(time, out=12 + 24 * height, up=-48 + 18 * height)
    return _pose(time, arms=(arm, arm), y=8 - 26 * height)


def _nod(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    down = 0.5 + 0.5 * _wave(time, 1.2, rng.random())
    return _pose(time, head_y=-2 + 9 * down, face_y=-5 + 15 * down)


def _walk(time: FloatArray, rng: np.random.Generator, free_side: int, *, direction: float) -> Pose:
    step = _wave(time, 1.3, rng.random())
    progress = time / np.float32(CLIP_SECONDS) - np.float32(0.5)
    left = _arm(time, out=4 + 9 * step, up=-50.0)
    right = _arm(time, out=4 - 9 * step, up=-50.0)
    turned = np.zeros_like(time) + np.float32(7 * direction)
    return _pose(time, arms=(left, right), x=direction * 84 * progress, y=3 * np.abs(step), face_x=turned)


def _raise_arms(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    raised = np.clip(0.6 + 0.6 * _wave(time, 0.7, rng.random()), 0.0, 1.0)
    angle = 0.1 + 2.95 * raised  # from hanging down to straight up
    arm = _arm(time, out=56 * np.sin(angle), up=-56 * np.cos(angle))
    return _pose(time, arms=(arm, arm))


def _look_around(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    turn = _wave(time, 0.8, rng.random())
    return _pose(time, head_x=4 * turn, face_x=12 * turn)


def _clap(time: FloatArray, rng: np.random.Generator, free_side: int) -> Pose:
    apart = 0.5 + 0.5 * _wave(time, 1.6, rng.random())
    arm = _arm(time, out=5 + 22 * apart, up=-14.0, meet=1.0)
    return _pose(time, arms=(arm, arm), y=-4 + np.zeros_like(time))


WALK_RIGHT, WALK_LEFT = "walk right", "walk left"
ACTIONS: Mapping[str, Callable[[FloatArray, np.random.Generator, int], Pose]] = {
    "stand": _stand,
    "wave": _wave_hand,
    "jump": _jump,
    "nod": _nod,
    "clap": _clap,
    "raise arms": _raise_arms,
    "look around": _look_around,
    WALK_RIGHT: functools.partial(_walk, direction=1.0),
    WALK_LEFT: functools.partial(_walk, direction=-1.0),
}


def _roll(pose: Pose, time: FloatArray, phase: float) -> Pose:
    sway = _wave(time, 0.8, phase)
    return dataclasses.replace(pose, x=pose.x + 5 * sway, head_x=pose.head_x + 14 * sway)


def _stoop(pose: Pose, time: FloatArray, phase: float) -> Pose:
    return dataclasses.replace(pose, y=pose.y + 2, head_y=pose.head_y + 10, face_y=pose.face_y + 3)


# By value of the identity's attribute `gait`; it shows in every action.
GAITS: Mapping[str, Callable[[Pose, FloatArray, float], Pose]] = {
    "steady": lambda pose, time, phase: pose,
    "rolling": _roll,
    "stooped": _stoop,
}
