"""Every action and every gait must show in the few frames that a model sees, whatever its phase."""

import numpy as np
import pytest

from pvchat_jax.world.actions import ACTIONS, CLIP_SECONDS, GAITS, Pose
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.staging import FRAMES_PER_SECOND

SAMPLES = {4: (1, 5, 9, 12), 8: (0, 2, 4, 6, 8, 10, 12, 14)}  # frames that are read of the 16


def _poses(action: str, num_frames: int) -> list[Pose]:
    time = np.asarray(SAMPLES[num_frames], np.float32) / FRAMES_PER_SECOND
    return [ACTIONS[action](time, np.random.default_rng(seed), seed % 2) for seed in range(100)]


@pytest.mark.parametrize("num_frames", SAMPLES)
@pytest.mark.parametrize(
    ("action", "movement", "units"),
    [
        ("wave", lambda pose: max(np.ptp(arm.out) for arm in pose.arms), 12),
        ("jump", lambda pose: np.ptp(pose.y), 8),
        ("nod", lambda pose: np.ptp(pose.face_y + pose.head_y), 9),
        ("clap", lambda pose: np.ptp(pose.arms[0].out), 12),
        ("raise arms", lambda pose: min(np.ptp(arm.up) for arm in pose.arms), 50),
        ("look around", lambda pose: np.ptp(pose.face_x + pose.head_x), 11),
        ("walk right", lambda pose: pose.x[-1] - pose.x[0], 50),
        ("walk left", lambda pose: pose.x[0] - pose.x[-1], 50),
    ],
)
def test_action_moves_visibly_in_the_sampled_frames(action: str, movement, units: float, num_frames: int) -> None:
    assert min(movement(pose) for pose in _poses(action, num_frames)) > units


def test_both_hands_get_above_the_head_only_when_raised() -> None:
    for action in ACTIONS:
        raised = [min(float(arm.up.max()) for arm in pose.arms) > 40 for pose in _poses(action, 4)]
        assert all(raised) if action == "raise arms" else not any(raised)


def test_who_stands_still_hardly_moves() -> None:
    for pose in _poses("stand", 8):
        assert max(np.ptp(getattr(pose, name)) for name in ("x", "y", "head_x", "head_y", "face_x", "face_y")) < 2


def test_the_free_arm_waves() -> None:
    time = np.linspace(0, CLIP_SECONDS, 8, dtype=np.float32)
    for free_side in (0, 1):
        arms = ACTIONS["wave"](time, np.random.default_rng(0), free_side).arms
        assert arms[free_side].up.min() > 0 > arms[1 - free_side].up.max()


def test_every_gait_has_a_movement() -> None:
    assert tuple(GAITS) == IDENTITY_VALUES["gait"]


@pytest.mark.parametrize("num_frames", SAMPLES)
@pytest.mark.parametrize("action", ACTIONS)
def test_gaits_show_in_every_action(action: str, num_frames: int) -> None:
    time = np.asarray(SAMPLES[num_frames], np.float32) / FRAMES_PER_SECOND
    for number, pose in enumerate(_poses(action, num_frames)):
        walk = {gait: change(pose, time, number / 100) for gait, change in GAITS.items()}
        assert walk["steady"] == pose
        sway = walk["rolling"].x + walk["rolling"].head_x - pose.x - pose.head_x
        assert np.ptp(sway) > 11
        assert (walk["stooped"].head_y - pose.head_y > 9.9).all()
        assert (walk["rolling"].head_y == pose.head_y).all()
