"""People are placed in scenes of other videos, everybody by the same code."""

import dataclasses

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Looks, Outline
from pvchat_jax.synthesis.generators import composing
from pvchat_jax.synthesis.generators.composing import Member, _relative_light, _zoomed, place_of
from pvchat_jax.synthesis.generators.compositor import Cast, Compositor, member_of
from pvchat_jax.synthesis.generators.cutouts import head_layer, soft_alpha
from pvchat_jax.synthesis.generators.exchanging import Exchange
from pvchat_jax.synthesis.generators.generator import Counterpart
from pvchat_jax.synthesis.segmenting.segmenter import Part
from tests.synthesis.generators.drawn_members import drawn_members
from tests.synthesis.stubs import performer, request

pytest.importorskip("cv2")
SUBJECT, OTHERS = 5, (7, 10, 12, 6, 8, 9)  # in the centre, right and left


@pytest.fixture(scope="module")
def members() -> dict[str, Member]:
    return drawn_members(SUBJECT, *OTHERS)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    first, again, other = (compositor.make_one(Cast(members[str(SUBJECT)], seed), 4).frames for seed in (1, 1, 2))
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
        clip = compositor.make_one(Cast(star, seed), 4)
        assert clip.settings["background"] != star.key and clip.settings["scene"] == members[str(clip.settings["background"])].scene
        red, green, blue = clip.frames.astype(int).transpose(3, 0, 1, 2)
        near = np.argwhere((np.minimum(red, blue) > 150) & (green < 60))
        middle = {"left": 32, "centre": 64, "right": 96}[str(clip.settings["place"])]
        assert abs(np.median(near[:, 2]) - middle) < 20
        found.add(clip.settings["place"])
    assert found == {"left", "centre", "right"}


def test_bodies_are_lent_within_a_figure_alone(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    bodies = {compositor.make_one(Cast(members[str(SUBJECT)], seed), 4).settings["body"] for seed in range(12)}
    assert len(bodies) > 2
    alone = members[str(SUBJECT)]._replace(figure="broad")
    assert {compositor.make_one(Cast(alone, seed), 4).settings["body"] for seed in range(6)} == {str(SUBJECT)}
    headed = members[str(SUBJECT)]._replace(own_body=False)
    assert str(SUBJECT) not in {compositor.make_one(Cast(headed, seed), 4).settings["body"] for seed in range(12)}


def test_without_a_background_it_says_what_is_missing(members: dict[str, Member]) -> None:
    one = {str(SUBJECT): members[str(SUBJECT)]}
    with pytest.raises(UserError, match="corpus"):
        Compositor(one, str(SUBJECT)).make_one(Cast(one[str(SUBJECT)], 0), 4)


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
    assert all(compositor.make_one(Cast(star, seed), 4).settings["own_body"] for seed in range(8))
    assert len(layers) == 8 and all(layer[0] is star.cut for layer in layers)


def test_people_are_seen_from_nearer_and_further_away() -> None:
    frames = np.zeros((1, 128, 128, 3), np.float32)
    frames[0, 60:, 24:104] = 255
    widths = [int((_zoomed(frames, np.random.default_rng(seed))[0, 100, :, 0] > 128).sum()) for seed in range(12)]
    assert 74 <= min(widths) < 79 and 81 < max(widths) <= 86
    assert all((_zoomed(frames, np.random.default_rng(seed))[0, -1, 60:68] > 254).all() for seed in range(4))
    assert 3 <= sum(np.array_equal(_zoomed(frames, np.random.default_rng(seed)), frames) for seed in range(12)) <= 9


def test_clips_have_that_light(members: dict[str, Member], monkeypatch) -> None:
    compositor = Compositor(members, str(SUBJECT))
    star = members[str(SUBJECT)]
    clips = []
    for light in (0.8, 1.2):
        monkeypatch.setattr(composing, "_relative_light", lambda *cuts, light=light: light)
        clips.append(compositor.make_one(Cast(star, 1), 4).frames.astype(int))
    assert (clips[1] - clips[0]).max() > 30


def test_a_clip_is_like_another_in_everything_but_the_performer(members: dict[str, Member]) -> None:
    outline = Outline(0.19, 0.19, 2.0)
    cast = {
        key: member._replace(outline=outline, skin="pale", shows=("wave" if key in "79" else "stand",)) for key, member in members.items()
    }
    cast["10"] = cast["10"]._replace(outline=Outline(0.14, 0.23, 2.0))
    compositor = Compositor(cast, str(SUBJECT))
    star, shared = cast[str(SUBJECT)], ("background", "scene", "place", "bystander", "face", "body", "clothes", "frozen_head")
    for seed in range(8):
        other = Cast(cast["7"], seed)
        model = compositor.make_one(other, 4).settings
        clip = compositor.make_one(Cast(star, 100 + seed), 4, like=other).settings
        same = [name for name in shared if model["body"] != "7" or name not in ("body", "clothes")]  # which nobody else can have
        assert [clip[name] for name in same] == [model[name] for name in same]
        assert cast[str(clip["body"])].shows == cast[str(model["body"])].shows


def test_a_request_with_a_counterpart_gets_a_clip_that_is_like_it(members: dict[str, Member]) -> None:
    compositor = Compositor(members, str(SUBJECT))
    source = dataclasses.replace(performer().source, sha256=str(SUBJECT))
    asked = request(performer()._replace(source=source), seed=2, num_frames=4)
    asked = asked._replace(prompt=asked.prompt._replace(scene=""))
    plain, alike = compositor.make([asked, asked._replace(counterpart=Counterpart("7", 5))])
    expected = compositor.make_one(Cast(members[str(SUBJECT)], 2), 4, like=Cast(members["7"], 5))
    assert np.array_equal(alike.frames, expected.frames) and not np.array_equal(plain.frames, expected.frames)


def test_who_walks_is_not_put_where_somebody_stands(members: dict[str, Member]) -> None:
    """Where a reader knows no actions, too."""
    unknown = {key: member._replace(shows=(), figure="") for key, member in members.items()}
    star = unknown[str(SUBJECT)]
    walking = star.cut._replace(boxes=star.cut.boxes + np.linspace(-40, 40, len(star.cut.boxes))[:, None] * [1, 0, 1, 0])
    assert walking.walks and not star.cut.walks
    compositor = Compositor(unknown | {star.key: star._replace(cut=walking)}, star.key)
    for seed in range(6):
        assert compositor.make_one(Cast(star._replace(cut=walking), seed), 4, like=Cast(unknown["7"], seed)).settings["place"] == ""


def test_where_a_model_has_traces_of_changes_so_has_a_clip_that_is_like_it(members: dict[str, Member]) -> None:
    outlines = (Outline(0.19, 0.19, 2.0), Outline(0.14, 0.23, 2.0))
    cast = {key: member._replace(outline=outlines[key in "79"], skin="pale") for key, member in members.items()}
    compositor = Compositor(cast, str(SUBJECT))
    star, donor = cast[str(SUBJECT)], cast["9"].cut
    look_alike = Cast(star._replace(outline=outlines[1]), 3, Exchange("eyes", donor))
    model = compositor._plan(look_alike, "", np.random.default_rng(0))
    plan = compositor._likened(model, Cast(star, 4), model, "", np.random.default_rng(0))
    assert model.outlines == outlines and plan.outlines == (outlines[0], outlines[1], outlines[0])
    assert plan.exchange == Exchange("eyes", star.cut)
    plain = model._replace(exchange=None, outlines=outlines[:1])
    plan = compositor._likened(plain, Cast(star, 4), plain, "", np.random.default_rng(0))
    assert plan.exchange is None and len(set(plan.outlines)) == 1


def test_hats_are_as_those_of_the_model(members: dict[str, Member]) -> None:
    hats = {"7": "cap", "10": "hat", "9": "cap"}
    cast = {key: member._replace(head="round", hair="bob", hat=hats.get(key, "")) for key, member in members.items()}
    compositor, rng = Compositor(cast, str(SUBJECT)), np.random.default_rng(0)
    bare, hatted = cast[str(SUBJECT)], cast["7"]
    assert compositor._crown_like("", bare, rng) is None and compositor._crown_like("cap", bare, rng).hat == "cap"
    assert compositor._crown_like("", hatted, rng).hat == "" and compositor._crown_like("hat", hatted, rng).hat == "hat"
    assert {compositor._crown_like("cap", hatted, rng) is None for _ in range(20)} == {True, False}  # the own cap or another one


@pytest.mark.parametrize(("action", "clear"), [("nod", [0, 2]), ("wave", [0, 1, 2, 3])])
def test_of_those_whose_faces_move_the_frames_with_open_eyes_count(members: dict[str, Member], action: str, clear: list[int]) -> None:
    cut = members[str(SUBJECT)].cut
    frames = cut.frames.copy()
    frames[[1, 3]] = np.where(cut.parts[[1, 3], ..., None] == Part.FACE, np.uint8(120), frames[[1, 3]])  # closed eyes
    truth = {"action": action, "scene": "beach", "outfit": {"garment": "shirt"}}
    looks = Looks(figure="slim/steady", head="square", hair="", shoulders=1.4, hides_body=False, hat="", truth=truth)
    member = member_of("5", cut._replace(frames=frames, clear=np.arange(4)), looks)
    assert member.cut.clear.tolist() == clear
