"""Faces nod and turn within heads that stay where they are."""

import numpy as np
import pytest

from pvchat_jax.synthesis.generators.cutouts import CutOut, cut_out, head_layer
from pvchat_jax.synthesis.generators.facing import move_face
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video

pytest.importorskip("cv2")
SUBJECT = 5


@pytest.fixture(scope="module")
def cut() -> CutOut:
    return cut_out(video(SUBJECT)[::4], head_boxes(reference_video(SUBJECT))[::4], true_parts(SUBJECT))


def moved(cut: CutOut, how: str, *, lids: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The head in four moments as it was and with a face that moves."""
    taken = np.repeat(cut.clear[0], 4)
    still, layer = head_layer(cut, taken), head_layer(cut, taken)
    move_face(layer, cut.boxes[taken], how, np.random.default_rng(0), lids=lids)
    assert np.array_equal(layer.alpha, still.alpha)
    return still.colours, layer.colours


@pytest.mark.parametrize("how", ["turn", "nod", "left"])
def test_a_face_moves_within_an_outline_that_stays(cut: CutOut, how: str) -> None:
    still, layer = moved(cut, how)
    changed = (layer != still).any(axis=-1)
    assert changed.any(axis=(1, 2)).sum() >= 3
    assert not changed[:, : int(cut.boxes[cut.clear[0], 1])].any()


def test_who_looks_down_closes_both_eyes_and_who_turns_one(cut: CutOut) -> None:
    """Counted by the whites of the eyes, which nothing else in this head is."""
    counts = {}
    for how in ("nod", "left"):
        whites = [(colours.min(axis=-1) > 190).sum(axis=(1, 2)) for colours in moved(cut, how)]
        counts[how] = whites[1] / whites[0]
    assert counts["nod"].min() < 0.35 and counts["nod"].max() > 0.7
    assert (counts["left"] > 0.2).all() and (counts["left"] < 0.75).all()


def test_eyes_that_may_be_elsewhere_stay_open(cut: CutOut) -> None:
    still, layer = moved(cut, "nod", lids=False)
    counts = [(colours.min(axis=-1) > 190).sum(axis=(1, 2)) for colours in (still, layer)]
    assert (counts[1] > 0.7 * counts[0]).all()
