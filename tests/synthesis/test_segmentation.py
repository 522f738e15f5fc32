"""People are cut out of drawn videos, of which the exact outline is known."""

import numpy as np
import pytest

from pvchat_jax.synthesis.segmentation import follow_head, head_masks, person_masks, soft_alpha
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import coverage, head_boxes, video

cv2 = pytest.importorskip("cv2")
SEEDS = (5, 10, 12)


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


def test_the_person_is_cut_out_along_the_outline() -> None:
    overlaps = [
        overlap(person_masks(video(seed)[::4], head_boxes(reference_video(seed))[::4]), coverage(reference_video(seed))[::4] > 0.5)
        for seed in SEEDS
    ]
    assert np.mean(overlaps) > 0.85


def test_one_frame_can_be_cut_by_itself() -> None:
    (mask,) = soft_alpha(person_masks(video(10)[:1], head_boxes(reference_video(10))[:1]))
    assert mask.dtype == np.float32 and mask.shape == (128, 128) and mask.min() >= 0 and mask.max() <= 1
    assert overlap(mask > 0.5, coverage(reference_video(10))[0] > 0.5) > 0.8


def test_the_head_goes_without_the_clothes() -> None:
    frames, boxes = video(10)[::4], head_boxes(reference_video(10))[::4]
    masks = person_masks(frames, boxes)
    heads = head_masks(frames, masks, boxes)
    assert not (heads & ~masks).any()
    for mask, (left, top, right, bottom) in zip(heads, boxes.astype(int), strict=True):
        assert mask[top + 4 : bottom - 6, (left + right) // 2].all()
        assert mask[min(bottom + 16, 127) :].sum() < 0.02 * mask.sum()


def test_a_head_is_followed_to_the_pixel_though_it_was_seen_roughly() -> None:
    true = head_boxes(reference_video(5))
    rough = true + np.repeat(np.random.default_rng(0).normal(0, 4, (16, 2)), 2, axis=1)[:, [0, 2, 1, 3]]
    rough[3] = np.nan
    error = follow_head(video(5), rough) - true
    assert np.abs(error - error.mean(axis=0)).max() < 1.5


def test_edges_are_soft_and_lie_inside() -> None:
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 5:15, 5:15] = True
    alpha = soft_alpha(mask)
    assert alpha[0, 10, 10] == 1 and alpha[~mask].max() < 0.05 and 0 < alpha[0, 10, 5] < 1
