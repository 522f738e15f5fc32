"""What is said of clips follows from what is known of the videos they were made of."""

import dataclasses
import json

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Looks
from pvchat_jax.synthesis.making.showing import Known, Truths, moves_right, shown
from pvchat_jax.synthesis.records import Person, Source
from pvchat_jax.world.actions import WALK_LEFT, WALK_RIGHT
from tests.synthesis.made import person, source

SETTINGS = {"place": "left", "face": "", "own_body": False, "frozen_head": False, "hat": "cap"}


def someone(action: str, *, scene: str = "stage", hat: str = "none", right: bool = True) -> Known:
    """Seen in a shirt whose colour is the name of what they do."""
    outfit = {"colour": action, "garment": "shirt", "hat": hat}
    looks = Looks(figure="", head="", hair="", shoulders=1.5, hides_body=False, hat="" if hat == "none" else hat, truth={})
    return Known(looks, {"scene": scene, "outfit": outfit, "action": action, "position": "centre"}, moves_right(moving(right)))


def moving(right: bool) -> Person:
    (track,) = person().tracks
    moved = [dataclasses.replace(one, box=(8.0 + step, 8.0, 40.0 + step, 40.0)) for step, one in enumerate(track)]
    return dataclasses.replace(person(), tracks=(tuple(moved if right else [*reversed(moved)]),))


def test_clothes_are_the_bodys_the_hat_the_heads_and_the_scene_the_backgrounds():
    clap = someone("clap")
    truth = shown(SETTINGS, someone("wave"), clap, someone("dance", scene="beach"), clap)
    assert truth == {"scene": "beach", "outfit": {"colour": "clap", "garment": "shirt", "hat": "cap"}, "action": "clap", "position": "left"}
    assert shown(SETTINGS, someone("wave"), clap, someone("dance"), someone("jump"))["outfit"]["colour"] == "jump"  # dyed
    bare = shown(SETTINGS | {"hat": ""}, someone("wave", hat="cap"), clap, someone("dance"), clap)
    assert bare["outfit"]["hat"] == "none"


@pytest.mark.parametrize(
    ("performer", "body", "settings", "action"),
    [
        ("stand", "clap", {}, "clap"),
        ("nod", "clap", {}, None),  # two things at once
        ("nod", "stand", {}, "nod"),
        ("nod", "stand", {"frozen_head": True}, "stand"),
        ("nod", "nod", {"own_body": True}, "nod"),
        ("clap", "clap", {"own_body": True, "face": "turn"}, None),  # a face was made to move
        ("stand", "walk left", {}, None),  # misread, or not at a place
        ("stand", "walk left", {"place": ""}, "walk right"),  # as the body is seen to
    ],
)
def test_what_somebody_does_with_a_head_and_a_body_of_two_videos(performer, body, settings, action):
    names = {"walk left": WALK_LEFT, "walk right": WALK_RIGHT}
    truth = shown(SETTINGS | settings, someone(performer), someone(names.get(body, body)), someone("stand"), someone("stand"))
    assert truth["action"] == names.get(action, action)


def test_where_something_is_unknown_nothing_is_said():
    nothing = Known(None, {}, False)
    known = someone("wave")
    for place in range(4):
        assert shown(SETTINGS, *(nothing if number == place else known for number in range(4))) == {}


def record(**truth):
    people = {"outfit": {"colour": "red"}, "action": "wave", "position": "left"}
    other = {"identity": {}, "outfit": {"colour": "blue"}, "action": "clap", "position": "right"}
    values = {"video": "v.mp4", "subject": "<W>", "role": "positive", "label": "present", "origin": "rendered", "sha256": "1" * 64}
    question = {"question": "Is <W> there?", "answer": "Yes.", "type": "existence"}
    return json.dumps(values | {"questions": [question], "truth": {"scene": "stage", **people, "bystander": other, **truth}})


def test_a_truth_file_tells_of_the_one_who_stands_there(tmp_path):
    (tmp_path / "train.jsonl").write_text(record() + "\n")
    truths = Truths([str(tmp_path / "train.jsonl")])
    filmed: Source = dataclasses.replace(source("1" * 64), width=64)
    colours = []
    for left in (0.0, 32.0):
        sighting = dataclasses.replace(person().tracks[0][0], box=(left, 8.0, left + 32.0, 40.0))
        truth = truths.of(filmed, dataclasses.replace(person(), tracks=((sighting,),)), None)
        assert set(truth) == {"scene", "outfit", "action", "position"}
        colours.append(truth["outfit"]["colour"])
    assert colours == ["red", "blue"]
    assert truths.of(source("2"), person(), None) == {}


def test_a_truth_file_without_truth_is_the_users_mistake(tmp_path):
    values = json.loads(record()) | {"truth": {}}
    (tmp_path / "train.jsonl").write_text(json.dumps(values) + "\n")
    with pytest.raises(UserError, match=r"config\.truth"):
        Truths([str(tmp_path / "train.jsonl")])
