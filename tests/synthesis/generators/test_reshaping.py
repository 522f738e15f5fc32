"""Heads get another outline."""

import numpy as np
import pytest

from pvchat_jax.synthesis.faces.reader import Outline
from pvchat_jax.synthesis.generators.cutouts import Layer, head_layer
from pvchat_jax.synthesis.generators.reshaping import reshaped
from pvchat_jax.world.shapes import UNITS
from pvchat_jax.world.staging import HEAD_RADII
from tests.synthesis.generators.drawn_members import drawn_cut

pytest.importorskip("cv2")
OUTLINES = {name: Outline(x / UNITS, y / UNITS, 4.0 if name == "square" else 2.0) for name, (x, y) in HEAD_RADII.items()}


def plain(outline: Outline) -> tuple[Layer, np.ndarray]:
    """A head without hair with a black dot in its middle, and its box."""
    centre, height, wide = (64.0, 70.0), 128, 256
    rows, columns = np.mgrid[:height, :wide] + 0.5
    x, y = np.abs(columns - 64 - centre[0]) / outline.radius_x / 128, np.abs(rows - centre[1]) / outline.radius_y / 128
    face = x**outline.order + y**outline.order <= 1
    colours = np.full((1, height, wide, 3), 200, np.uint8)
    colours[0, 66:74, 124:132] = 0
    radii = np.array([outline.radius_x, outline.radius_y]) * 128
    return Layer(colours, face[None].astype(np.float32)), np.concatenate([centre - radii, centre + radii])[None]


@pytest.mark.parametrize("before", OUTLINES)
@pytest.mark.parametrize("after", OUTLINES)
def test_a_head_gets_the_outline_of_another_and_keeps_its_features(before: str, after: str) -> None:
    layer, boxes = plain(OUTLINES[before])
    changed = reshaped(layer, boxes, OUTLINES[before], OUTLINES[after])
    other, target = plain(OUTLINES[after])
    down = round(boxes[0, 3] - target[0, 3])  # the chin stays
    expected = np.roll(other.alpha, down, axis=1)
    assert np.abs(changed.alpha - expected).mean() < 0.006
    dark = np.argwhere(changed.colours[0, :, :, 0] < 100)
    assert 50 <= len(dark) <= 80  # the dot was of 64 pixels
    assert np.allclose(dark.mean(axis=0), [69.5 + down, 127.5], atol=0.7)


def test_there_and_back_is_hardly_seen() -> None:
    cut = drawn_cut(5)
    taken = cut.clear[:1]
    head = head_layer(cut, taken)
    own, other = OUTLINES["square"], OUTLINES["round"]
    back = reshaped(reshaped(head, cut.boxes[taken], own, other), cut.boxes[taken], other, own)
    difference = np.abs(back.colours.astype(int) - head.colours).max(axis=-1)[head.alpha > 0.9]
    assert np.median(difference) < 4 and np.quantile(difference, 0.9) < 40 and difference.max() > 0
