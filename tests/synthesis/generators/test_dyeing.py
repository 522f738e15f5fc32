"""Clothes and skin get other colours, and nothing else does."""

import numpy as np
import pytest

from pvchat_jax.synthesis.generators.cutouts import CutOut, cut_out
from pvchat_jax.synthesis.generators.dyeing import Dye, cloth_colour, dressed, dye, skin_colour
from pvchat_jax.synthesis.segmenting.segmenter import Part
from pvchat_jax.world.figure import SKIN, TOP
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video

pytest.importorskip("cv2")
GREEN_STRIPES, BLACK_STRIPES, PINK_DOTS = 4, 7, 9  # seeds of worlds, by what is worn in their reference videos


def cut(seed: int) -> CutOut:
    return cut_out(video(seed)[::4], head_boxes(reference_video(seed))[::4], true_parts(seed))


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Between two colours, in degrees: whatever the light, the same colour."""
    return float(np.degrees(np.arccos(np.clip(first @ second / np.linalg.norm(first) / np.linalg.norm(second), -1, 1))))


@pytest.mark.parametrize("seed", [GREEN_STRIPES, PINK_DOTS, 5])
def test_the_colour_of_clothes_is_that_of_the_outfit(seed: int) -> None:
    found = cloth_colour(cut(seed))
    nearest = min(TOP, key=lambda name: angle(found, np.array(TOP[name])))
    assert nearest == reference_video(seed).person.outfit.colour


def test_black_clothes_have_none() -> None:
    assert cloth_colour(cut(BLACK_STRIPES)) is None


def test_somebody_gets_another_colour_and_keeps_white_stripes_and_face() -> None:
    before = cut(GREEN_STRIPES)
    after = dressed(before, Dye(cloth_colour(before), cloth_colour(cut(PINK_DOTS))), None)
    assert angle(cloth_colour(after), cloth_colour(cut(PINK_DOTS))) < 4
    head = np.isin(before.parts, (Part.FACE, Part.HAIR, Part.NECK, Part.SCENE))
    assert np.array_equal(after.frames[head], before.frames[head])
    white = (before.parts == Part.CLOTHES) & (before.frames.min(axis=-1) > 190)
    assert white.sum() > 100 and np.abs(after.frames[white].astype(int) - before.frames[white]).mean() < 3


def test_somebody_gets_another_skin_at_neck_and_hands_alone() -> None:
    before = cut(GREEN_STRIPES)  # a pale person
    after = dressed(before, None, Dye(skin_colour(before), skin_colour(cut(BLACK_STRIPES))))
    assert angle(skin_colour(after), skin_colour(cut(BLACK_STRIPES))) < 4
    assert angle(skin_colour(before), np.array(SKIN["pale"])) < 6
    other = ~np.isin(before.parts, (Part.NECK, Part.ARMS))
    assert np.array_equal(after.frames[other], before.frames[other])
    assert angle(cloth_colour(after), cloth_colour(before)) < 2


def test_shades_stay_in_proportion() -> None:
    picture = np.array([[[[200, 100, 0], [100, 50, 0], [0, 100, 200]]]], np.uint8)
    dye(picture, np.ones((1, 1, 3), bool), np.array([200.0, 100.0, 0.0]), np.array([0.0, 80.0, 160.0]))
    assert picture[0, 0].tolist() == [[0, 80, 160], [0, 40, 80], [0, 100, 200]]
