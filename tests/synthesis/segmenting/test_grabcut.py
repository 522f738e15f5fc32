"""People are cut out of drawn videos, of which the exact outline is known."""

import numpy as np
import pytest

from pvchat_jax.synthesis.generators.cutouts import soft_alpha
from pvchat_jax.synthesis.segmenting.grabcut import grabcut, head_masks, person_masks
from pvchat_jax.synthesis.segmenting.segmenter import HEAD, Part
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


def test_parts_are_the_masks_in_one() -> None:
    frames, boxes = video(10)[::4], head_boxes(reference_video(10))[::4]
    parts = grabcut(frames, boxes)
    masks = person_masks(frames, boxes)
    assert parts.dtype == np.uint8 and np.array_equal(parts != Part.SCENE, masks)
    heads = head_masks(frames, masks, boxes)
    assert overlap(np.isin(parts, HEAD), heads) > 0.75  # what most frames have in common
    assert {Part.CLOTHES, Part.FACE, Part.NECK} <= set(np.unique(parts))
