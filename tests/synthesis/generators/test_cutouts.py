"""Which frames show a head as it is."""

import numpy as np
import pytest

from pvchat_jax.synthesis.generators.cutouts import CutOut, clear_frames, straight_frames, stretch
from pvchat_jax.synthesis.segmenting.segmenter import Part

pytest.importorskip("cv2")


def looking(*eyes: tuple[bool, bool], left: int = 20) -> CutOut:
    """A face of 20 by 20 pixels in each of some frames, in which the left and the right eye are open or not."""
    frames, parts = np.full((len(eyes), 60, 64, 3), 90, np.uint8), np.zeros((len(eyes), 60, 64), np.uint8)
    parts[:, 20:40, left : left + 20] = Part.FACE
    frames[parts == Part.FACE] = 180
    for frame, (first, second) in zip(frames, eyes, strict=True):
        frame[26:30, left + 3 : left + 7] = 255 if first else 180
        frame[26:30, left + 13 : left + 17] = 255 if second else 180
    boxes = np.tile([left, 20.0, left + 20.0, 40.0], (len(eyes), 1))
    return CutOut(frames, parts, boxes, np.arange(len(eyes)))


def test_who_looks_straight_ahead_has_both_eyes_open() -> None:
    assert straight_frames(looking((True, True), (False, False), (True, False), (True, True), (False, True))).tolist() == [0, 3]


def test_heads_that_the_picture_cuts_count_only_if_there_is_no_other() -> None:
    whole, cut = looking((True, True), (True, True)), looking((True, True), (True, True), left=0)
    both = CutOut(*(np.concatenate([a[:1], b[1:]]) for a, b in zip(whole[:3], cut[:3], strict=True)), np.arange(2))
    assert straight_frames(both).tolist() == [0] and straight_frames(cut).tolist() == [0, 1]


def test_an_arm_before_the_head_makes_a_frame_unclear_but_a_pixel_of_movement_does_not() -> None:
    cut = looking(*[(True, True)] * 5)
    cut.frames[1] = np.roll(cut.frames[1], 1, axis=1)
    cut.frames[3, 30:36, 20:40] = (20, 20, 200)
    assert clear_frames(cut.frames, cut.parts == Part.FACE, cut.boxes).tolist() == [0, 1, 2, 4]


def test_a_part_of_the_frames_has_their_clear_ones() -> None:
    cut = looking(*[(True, True)] * 5)._replace(clear=np.array([1, 3, 4]))
    assert stretch(cut, np.arange(3, 5)).clear.tolist() == [0, 1] and stretch(cut, np.arange(3)).clear.tolist() == [1]
