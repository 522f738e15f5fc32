"""A head is followed over the frames of a shot."""

import numpy as np
import pytest
from scipy import ndimage

from pvchat_jax.synthesis.segmenting.heads import follow_face, follow_head, moved, usual_head
from pvchat_jax.synthesis.segmenting.segmenter import Part
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video

pytest.importorskip("cv2")


def test_a_head_is_followed_to_the_pixel_though_it_was_seen_roughly() -> None:
    true = head_boxes(reference_video(5))
    rough = true + np.repeat(np.random.default_rng(0).normal(0, 4, (16, 2)), 2, axis=1)[:, [0, 2, 1, 3]]
    rough[3] = np.nan
    error = follow_head(video(5), rough) - true
    assert np.abs(error - error.mean(axis=0)).max() < 1.5


def test_an_arm_that_passes_before_the_head_is_no_part_of_it() -> None:
    heads = np.zeros((5, 20, 20), bool)
    heads[:, 5:12, 5:12] = True
    heads[2, 8:10, 12:18] = True
    boxes = np.tile([5.0, 5.0, 12.0, 12.0], (5, 1))
    assert np.array_equal(usual_head(heads, boxes)[2], heads[0])


@pytest.mark.parametrize(("x", "y"), [(1, 0), (-1, 1), (0, -2), (3, 0), (-9, 9)])
def test_images_are_moved_by_whole_pixels(x: int, y: int) -> None:
    image = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(moved(image, x, y), ndimage.shift(image, (y, x), order=0))


@pytest.mark.parametrize("seed", [1, 8])  # who looks around and who nods
def test_a_head_is_followed_by_the_outline_of_its_face_though_the_face_moves_and_the_picture_ends(seed: int) -> None:
    true = head_boxes(reference_video(seed))[::4]
    rough = true + np.repeat(np.random.default_rng(0).normal(0, 15, (4, 2)), 2, axis=1)[:, [0, 2, 1, 3]]
    error = follow_face(true_parts(seed)(video(seed)[::4], rough), rough) - true
    assert np.abs(error[:, [0, 2]]).max() < 3 and np.abs(error[:, 3]).max() < 4


def test_where_a_face_is_hidden_it_is_between_where_it_was_and_will_be() -> None:
    parts = np.full((3, 40, 60), Part.SCENE, np.uint8)
    for moment, left in ((0, 10), (2, 20)):
        parts[moment, 10:22, left : left + 10] = Part.FACE
    boxes = np.tile([5.0, 5.0, 15.0, 19.0], (3, 1))
    assert follow_face(parts, boxes).tolist() == [[10, 8, 20, 22], [15, 8, 25, 22], [20, 8, 30, 22]]
    assert np.array_equal(follow_face(np.zeros_like(parts), boxes), boxes)  # nobody's face is seen: nothing is known better
