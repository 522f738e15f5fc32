"""A head is followed over the frames of a shot."""

import numpy as np
import pytest
from scipy import ndimage

from pvchat_jax.synthesis.segmenting.heads import follow_head, moved, usual_head
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, video

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
