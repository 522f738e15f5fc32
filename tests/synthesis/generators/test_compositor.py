"""People are placed in scenes of other videos, everybody by the same code."""

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.compositor import Compositor, Member, _move_face, place_of
from pvchat_jax.synthesis.generators.cutouts import cut_out, head_layer, usual_head
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, video

pytest.importorskip("cv2")
SUBJECT, OTHERS = 5, (7, 10, 12, 6, 8, 9)  # in the centre, right and left


@pytest.fixture(scope="module")
def members() -> dict[str, Member]:
    cuts = {seed: cut_out(video(seed)[::4], head_boxes(reference_video(seed))[::4]) for seed in (SUBJECT, *OTHERS)}
    return {str(seed): Member(str(seed), "slim", reference_video(seed).scene, cut) for seed, cut in cuts.items()}


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    first, again, other = (compositor.make_one(members[str(SUBJECT)], "", seed, 4).frames for seed in (1, 1, 2))
    assert first.shape == (4, 128, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_subject_is_seen_at_the_chosen_place_in_the_chosen_scene(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    skin = np.median(video(SUBJECT)[0][60:70, 60:68], axis=(0, 1))
    found = set()
    for seed in range(12):
        clip = compositor.make_one(members[str(SUBJECT)], "", seed, 4)
        assert clip.settings["background"] != str(SUBJECT) and clip.settings["scene"] == members[str(clip.settings["background"])].scene
        near = np.argwhere(np.abs(clip.frames[0].astype(int) - skin).max(axis=-1) < 40)
        middle = {"left": 32, "centre": 64, "right": 96}[str(clip.settings["place"])]
        assert abs(np.median(near[:, 1]) - middle) < 20
        found.add(clip.settings["place"])
    assert found == {"left", "centre", "right"}


def test_bodies_are_lent_within_a_figure_alone(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    bodies = {compositor.make_one(members[str(SUBJECT)], "", seed, 4).settings["body"] for seed in range(12)}
    assert len(bodies) > 2
    alone = members[str(SUBJECT)]._replace(figure="broad")
    assert {compositor.make_one(alone, "", seed, 4).settings["body"] for seed in range(6)} == {str(SUBJECT)}
    headed = members[str(SUBJECT)]._replace(own_body=False)
    assert str(SUBJECT) not in {compositor.make_one(headed, "", seed, 4).settings["body"] for seed in range(12)}


def test_without_a_background_it_says_what_is_missing(members: dict[str, Member]) -> None:
    one = {str(SUBJECT): members[str(SUBJECT)]}
    with pytest.raises(UserError, match="corpus"):
        Compositor(one, str(SUBJECT)).make_one(one[str(SUBJECT)], "", 0, 4)


def test_an_arm_that_passes_before_the_head_is_no_part_of_it() -> None:
    heads = np.zeros((5, 20, 20), bool)
    heads[:, 5:12, 5:12] = True
    heads[2, 8:10, 12:18] = True
    boxes = np.tile([5.0, 5.0, 12.0, 12.0], (5, 1))
    assert np.array_equal(usual_head(heads, boxes)[2], heads[0])


def test_what_the_edge_hides_is_completed(members: dict[str, Member]) -> None:
    cut = members["9"].cut
    assert place_of(cut) == "left"
    layer = head_layer(cut, np.arange(1))
    beyond = layer.alpha[0, :, :64]  # what is left of the picture
    assert cut.head[0, :, 0].any() and beyond[cut.head[0, :, 0], -1].mean() > 0.8


def test_a_face_moves_within_an_outline_that_stays(members: dict[str, Member]) -> None:
    cut = members[str(SUBJECT)].cut
    still, moved = head_layer(cut, np.repeat(cut.clear[0], 4)), head_layer(cut, np.repeat(cut.clear[0], 4))
    _move_face(moved, np.repeat(cut.boxes[cut.clear[:1]], 4, axis=0), "turn", np.random.default_rng(0))
    changed = (moved.colours != still.colours).any(axis=-1)
    assert changed.any(axis=(1, 2)).sum() >= 3 and np.array_equal(moved.alpha, still.alpha)
    top = int(cut.boxes[cut.clear[0], 1])
    assert not changed[:, :top].any()
