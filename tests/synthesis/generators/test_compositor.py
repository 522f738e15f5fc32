"""People are placed in scenes of other videos, everybody by the same code."""

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators import composing
from pvchat_jax.synthesis.generators.composing import Member, _relative_light, _zoomed, place_of
from pvchat_jax.synthesis.generators.compositor import Compositor, _is_double, _pick_evenly
from pvchat_jax.synthesis.generators.cutouts import cut_out, head_layer, soft_alpha
from pvchat_jax.synthesis.generators.dyeing import skin_colour
from pvchat_jax.synthesis.segmenting.segmenter import Part
from pvchat_jax.world.plan import reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video

pytest.importorskip("cv2")
SUBJECT, OTHERS = 5, (7, 10, 12, 6, 8, 9)  # in the centre, right and left


@pytest.fixture(scope="module")
def members() -> dict[str, Member]:
    cuts = {seed: cut_out(video(seed)[::4], head_boxes(reference_video(seed))[::4], true_parts(seed)) for seed in (SUBJECT, *OTHERS)}
    return {str(seed): Member(str(seed), "slim", reference_video(seed).scene, cut) for seed, cut in cuts.items()}


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    first, again, other = (compositor.make_one(members[str(SUBJECT)], "", seed, 4).frames for seed in (1, 1, 2))
    assert first.shape == (4, 128, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_subject_is_seen_at_the_chosen_place_in_the_chosen_scene(members: dict[str, Member]) -> None:
    own = members[str(SUBJECT)].cut
    marked = own.frames.copy()
    marked[own.parts == Part.FACE] = (255, 0, 255)  # which no scene has
    star = members[str(SUBJECT)]._replace(cut=own._replace(frames=marked))
    compositor = Compositor(members | {star.key: star}, star.key)
    found = set()
    for seed in range(16):
        clip = compositor.make_one(star, "", seed, 4)
        assert clip.settings["background"] != star.key and clip.settings["scene"] == members[str(clip.settings["background"])].scene
        red, green, blue = clip.frames.astype(int).transpose(3, 0, 1, 2)
        near = np.argwhere((np.minimum(red, blue) > 150) & (green < 60))
        middle = {"left": 32, "centre": 64, "right": 96}[str(clip.settings["place"])]
        assert abs(np.median(near[:, 2]) - middle) < 20
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


def test_what_the_edge_hides_is_completed(members: dict[str, Member]) -> None:
    cut = members["9"].cut
    assert place_of(cut) == "left"
    layer = head_layer(cut, np.arange(1))
    beyond = layer.alpha[0, :, :64]  # what is left of the picture
    assert cut.head[0, :, 0].any() and beyond[cut.head[0, :, 0], -1].mean() > 0.8


def test_edges_are_soft_and_lie_inside() -> None:
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 5:15, 5:15] = True
    alpha = soft_alpha(mask)
    assert alpha[0, 10, 10] == 1 and alpha[~mask].max() < 0.05 and 0 < alpha[0, 10, 5] < 1


def test_a_head_takes_on_the_light_of_the_video_that_its_body_comes_from(members: dict[str, Member]) -> None:
    cut, taken = members["9"].cut, np.arange(4)
    darker = cut._replace(frames=(0.8 * cut.frames).astype(np.uint8))
    assert _relative_light(darker, taken, cut, taken) == pytest.approx(0.8, abs=0.02)
    assert _relative_light(cut, taken, cut, taken) == 1
    hidden = cut._replace(parts=np.where(cut.parts == Part.NECK, Part.CLOTHES, cut.parts))
    assert _relative_light(darker, taken, hidden, taken) == 1


def test_on_the_own_body_too_the_head_is_set_on_anew(members: dict[str, Member], monkeypatch) -> None:
    """Else a head that fits would tell in whose clothes somebody is seen."""
    layers = []
    monkeypatch.setattr(composing, "head_layer", lambda *args, **named: layers.append(args) or head_layer(*args, **named))
    star = members["9"]._replace(figure="")  # nobody lends a body
    compositor = Compositor(members | {star.key: star}, star.key)
    assert all(compositor.make_one(star, "", seed, 4).settings["own_body"] for seed in range(8))
    assert len(layers) == 8 and all(layer[0] is star.cut for layer in layers)


def test_people_are_seen_from_nearer_and_further_away() -> None:
    frames = np.zeros((1, 128, 128, 3), np.float32)
    frames[0, 60:, 24:104] = 255
    widths = [int((_zoomed(frames, np.random.default_rng(seed))[0, 100, :, 0] > 128).sum()) for seed in range(12)]
    assert 74 <= min(widths) < 79 and 81 < max(widths) <= 86
    assert all((_zoomed(frames, np.random.default_rng(seed))[0, -1, 60:68] > 254).all() for seed in range(4))


def test_who_walks_lends_a_body_whatever_the_gait_but_not_to_look_alikes_by_figure(members: dict[str, Member]) -> None:
    walker, star = members["9"]._replace(figure="slim/walking"), members["5"]._replace(figure="slim/rolling")
    assert _is_double(walker, star) and not _is_double(walker, star._replace(own_body=False))
    assert not _is_double(walker, star._replace(figure="broad/rolling"))
    assert not _is_double(walker._replace(figure=""), star._replace(figure=""))


def test_others_are_seen_doing_and_wearing_only_what_the_subject_is(members: dict[str, Member]) -> None:
    shows = {"5": ("stand", "shirt"), "7": ("wave", "jacket"), "10": ("clap", "shirt"), "12": ("stand", "jacket"), "6": ("wave", "shirt")}
    figures = {"7": "slim", "12": "broad", "10": "broad", "6": "broad"}
    cast = {key: members[key]._replace(shows=shows[key], figure=figures.get(key, "slim")) for key in shows}
    compositor = Compositor(cast, "5")
    assert [m.key for m in compositor._doubles(cast["5"])] == ["7"]  # so the subject stands and waves, in shirt and jacket
    assert [m.key for m in compositor._doubles(cast["12"])] == ["6"]  # and nobody claps
    assert [m.key for m in compositor._doubles(cast["5"]._replace(figure="broad"))] == ["12", "6"]
    only = {key: cast[key] for key in ("5", "10")} | {"y": cast["10"]._replace(key="y")}
    assert [m.key for m in Compositor(only, "5")._doubles(only["10"])] == ["y"]  # unless there is nobody else


def test_everything_that_doubles_do_is_as_frequent(members: dict[str, Member]) -> None:
    doubles = [members[key]._replace(shows=(action,)) for key, action in (("5", "wave"), ("7", "clap"), ("10", "clap"), ("12", "clap"))]
    rng = np.random.default_rng(0)
    done = [_pick_evenly(doubles, rng).shows[0] for _ in range(200)]
    assert 70 < done.count("wave") < 130


def test_clips_have_that_light(members: dict[str, Member], monkeypatch) -> None:
    compositor = Compositor(members, str(SUBJECT))
    star = members[str(SUBJECT)]
    clips = []
    for light in (0.8, 1.2):
        monkeypatch.setattr(composing, "_relative_light", lambda *cuts, light=light: light)
        clips.append(compositor.make_one(star, "", 1, 4).frames.astype(int))
    assert (clips[1] - clips[0]).max() > 30


def test_a_body_of_another_skin_gets_the_performers(members: dict[str, Member]) -> None:
    star, body = members["5"]._replace(skin="tan", own_body=False), members["7"]._replace(skin="dark")
    compositor = Compositor({"5": star, "7": body, "10": members["10"]._replace(figure="")}, "5")
    plan = compositor._plan(star, "", None, np.random.default_rng(0))
    assert plan.body is body and np.array_equal(plan.skin.target, skin_colour(star.cut))
