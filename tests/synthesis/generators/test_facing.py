"""Faces nod and turn within heads whose outline stays."""

import numpy as np
import pytest

from pvchat_jax.synthesis.generators.cutouts import CutOut, head_layer
from pvchat_jax.synthesis.generators.facing import bend_face, movement, shift_face
from pvchat_jax.synthesis.segmenting.segmenter import Part
from tests.synthesis.generators.drawn_members import drawn_cut

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def cut() -> CutOut:
    return drawn_cut(5)


def moved(cut: CutOut, how: str, *, drawn: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The head in eight moments as it was and with a face that moves."""
    taken = np.repeat(cut.clear[0], 8)
    still, layer = head_layer(cut, taken), head_layer(cut, taken)
    moves = movement(cut.boxes[taken], how, np.random.default_rng(0)).face
    if drawn:
        shift_face(layer, cut.parts[taken], cut.boxes[taken], moves)
    else:
        bend_face(layer, cut.boxes[taken], moves)
    assert np.array_equal(layer.alpha, still.alpha)
    return still.colours, layer.colours


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("how", ["turn", "nod", "left"])
def test_a_face_moves_within_an_outline_that_stays(cut: CutOut, how: str, drawn: bool) -> None:
    still, layer = moved(cut, how, drawn=drawn)
    changed = (layer != still).any(axis=-1)
    assert changed.any(axis=(1, 2)).sum() >= 3
    assert not changed[:, : int(cut.boxes[cut.clear[0], 1])].any()


def whites(colours: np.ndarray) -> np.ndarray:
    """How much is seen of the whites of the eyes, which nothing else in this head is, in each moment."""
    return (colours.min(axis=-1) > 190).sum(axis=(1, 2))


def test_who_looks_down_closes_both_eyes_and_who_turns_one(cut: CutOut) -> None:
    shares = {how: whites(after) / whites(before) for how in ("nod", "turn") for before, after in [moved(cut, how)]}
    assert shares["nod"].min() < 0.1 and shares["nod"].max() > 0.8
    assert 0.3 < shares["turn"].min() < 0.75 and shares["turn"].max() > 0.8


def test_filmed_eyes_that_may_be_elsewhere_stay_open(cut: CutOut) -> None:
    before, after = moved(cut, "nod", drawn=False)
    assert (whites(after) > 0.7 * whites(before)).all()


def test_features_move_as_they_are_over_plain_skin(cut: CutOut) -> None:
    taken = cut.clear[:1]
    layer, before = head_layer(cut, taken), head_layer(cut, taken).colours.astype(int)
    shift_face(layer, cut.parts[taken], cut.boxes[taken], np.array([[-3.2, 2.0]]))
    after = layer.colours.astype(int)
    (left, top, right, bottom), margin = cut.boxes[taken[0]].astype(int), cut.frames.shape[2] // 2
    middle = (slice((top + bottom) // 2 - 2, bottom - 8), slice(margin + left + 14, margin + right - 14))
    shifted = after[0, middle[0].start + 2 : middle[0].stop + 2, middle[1].start - 3 : middle[1].stop - 3]
    assert np.array_equal(shifted, before[0][middle])
    face = np.pad(cut.parts[taken] == Part.FACE, ((0, 0), (0, 0), (margin, margin)))
    assert not (after != before)[~face].any()


def test_a_head_sways_and_bobs_with_its_face() -> None:
    boxes = np.tile([40.0, 40.0, 88.0, 90.0], (16, 1))
    nod, turn, left = (movement(boxes, how, np.random.default_rng(0)) for how in ("nod", "turn", "left"))
    assert np.corrcoef(nod.head[:, 1], nod.face[:, 1])[0, 1] > 0.99 and not nod.face[:, 0].any()
    assert np.corrcoef(turn.head[:, 0], turn.face[:, 0])[0, 1] > 0.99 and not turn.face[:, 1].any()
    assert (left.face[:, 0] < -5).all() and not left.head.any()
