"""Who lends what to whom."""

import numpy as np
import pytest

from pvchat_jax.synthesis.faces.reader import Outline
from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.generators.dyeing import skin_colour
from pvchat_jax.synthesis.generators.lending import Lenders, _is_double, pick_evenly
from tests.synthesis.generators.drawn_members import drawn_members

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def members() -> dict[str, Member]:
    return drawn_members(5, 7, 10, 12, 6, 9)


def keys(members: list[Member]) -> list[str]:
    return [member.key for member in members]


def test_who_walks_lends_a_body_whatever_the_gait_but_not_to_look_alikes_by_figure(members: dict[str, Member]) -> None:
    walker, star = members["9"]._replace(figure="slim/walking"), members["5"]._replace(figure="slim/rolling")
    assert _is_double(walker, star) and not _is_double(walker, star._replace(own_body=False))
    assert not _is_double(walker, star._replace(figure="broad/rolling"))
    assert not _is_double(walker._replace(figure=""), star._replace(figure=""))


def test_others_are_seen_doing_and_wearing_only_what_the_subject_is(members: dict[str, Member]) -> None:
    shows = {"5": ("stand", "shirt"), "7": ("wave", "jacket"), "10": ("clap", "shirt"), "12": ("stand", "jacket"), "6": ("wave", "shirt")}
    figures = {"7": "slim", "12": "broad", "10": "broad", "6": "broad"}
    cast = {key: members[key]._replace(shows=shows[key], figure=figures.get(key, "slim")) for key in shows}
    lend = Lenders(cast, "5")
    assert keys(lend.bodies(cast["5"])) == ["7"]  # so the subject stands and waves, in shirt and jacket
    assert keys(lend.bodies(cast["12"])) == ["6"]  # and nobody claps
    assert keys(lend.bodies(cast["5"]._replace(figure="broad"))) == ["12", "6"]
    only = {key: cast[key] for key in ("5", "10")} | {"y": cast["10"]._replace(key="y")}
    assert keys(Lenders(only, "5").bodies(only["10"])) == ["y"]  # unless there is nobody else


def test_everything_that_doubles_do_is_as_frequent(members: dict[str, Member]) -> None:
    doubles = [members[key]._replace(shows=(action,)) for key, action in (("5", "wave"), ("7", "clap"), ("10", "clap"), ("12", "clap"))]
    rng = np.random.default_rng(0)
    done = [pick_evenly(doubles, rng).shows[0] for _ in range(200)]
    assert 70 < done.count("wave") < 130


def test_a_body_of_another_skin_gets_the_performers(members: dict[str, Member]) -> None:
    star, body = members["5"]._replace(skin="tan"), members["7"]._replace(skin="dark")
    dye = Lenders({"5": star, "7": body}, "5").skin_dye(body, star)
    assert dye is not None and np.array_equal(dye.target, skin_colour(star.cut)) and np.array_equal(dye.source, skin_colour(body.cut))


def test_the_subject_is_never_behind_others(members: dict[str, Member]) -> None:
    found = [Lenders(members, "5").backgrounds(place, "", (members["7"],))[0] for place in ("left", "centre", "right")]
    assert all(found) and not {"5", "7"} & {key for backgrounds in found for key in keys(backgrounds)}


def test_hats_go_to_heads_of_their_shape_and_hair_to_those_of_the_same(members: dict[str, Member]) -> None:
    heads = {"5": ("round", "", "bob"), "7": ("round", "cap", "bob"), "10": ("long", "hat", "bob"), "12": ("round", "", "bob")}
    cast = {key: members[key]._replace(head=head, hat=hat, hair=hair) for key, (head, hat, hair) in heads.items()}
    lend = Lenders(cast, "5")
    assert keys(lend.hats(cast["5"])) == ["7"] and keys(lend.hair(cast["5"])) == ["12"] and keys(lend.hair(cast["7"])) == ["5", "12"]
    assert keys(lend.hats(cast["5"]._replace(head="long"))) == ["10"] and not lend.hats(cast["5"]._replace(head=""))


def test_outlines_are_those_of_others(members: dict[str, Member]) -> None:
    wide, long = Outline(0.2, 0.15, 2.0), Outline(0.14, 0.23, 2.0)
    cast = {key: members[key]._replace(outline=outline) for key, outline in (("5", wide), ("7", long), ("10", wide), ("12", None))}
    assert Lenders(cast, "5").outlines(wide) == [long]
