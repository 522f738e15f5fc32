"""Parts of faces are put on other heads, where they belong and nowhere else."""

import numpy as np
import pytest

from pvchat_jax.synthesis.generators.cutouts import CutOut, cut_out, head_layer
from pvchat_jax.synthesis.generators.exchanging import REGIONS, Exchange, put_on, region_masks
from pvchat_jax.synthesis.segmenting.segmenter import Part
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video

pytest.importorskip("cv2")


def cut(seed: int) -> CutOut:
    return cut_out(video(seed)[::4], head_boxes(reference_video(seed))[::4], true_parts(seed))


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_of_another_face_changes_that_region_alone(region: str) -> None:
    wearer, donor = cut(5), cut(12)
    taken = np.array([wearer.clear[0]])
    head = head_layer(wearer, taken)
    changed = put_on(head, wearer, taken, Exchange(region, donor), np.random.default_rng(0))
    rows = np.flatnonzero((np.abs(changed.colours.astype(int) - head.colours).max(axis=-1) > 20).any(axis=(0, 2)))
    top, height = wearer.boxes[taken[0], 1], wearer.boxes[taken[0], 3] - wearer.boxes[taken[0], 1]
    first, last = REGIONS[region]
    assert rows.size and rows.min() > top + first * height - 4 and rows.max() < top + last * height + 4


def test_the_own_face_put_on_again_is_hardly_seen() -> None:
    wearer = cut(5)
    taken = np.array([wearer.clear[0]])
    head = head_layer(wearer, taken)
    again = put_on(head, wearer, taken, Exchange("lower", wearer), np.random.default_rng(0))
    face = region_masks(wearer, taken, "face")
    margin = (head.colours.shape[2] - face.shape[2]) // 2
    difference = np.abs(again.colours.astype(int) - head.colours)[:, :, margin:-margin][face]
    assert 0 < difference.mean() < 20 and not np.array_equal(again.colours, head.colours)


def test_eyes_and_lower_face_are_all_of_the_face() -> None:
    wearer = cut(5)
    taken = np.arange(4)
    eyes, lower, face = (region_masks(wearer, taken, region) for region in ("eyes", "lower", "face"))
    assert np.array_equal(eyes | lower, face) and not (eyes & lower).any() and np.array_equal(face, wearer.parts == Part.FACE)
