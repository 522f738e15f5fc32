"""Dense labels are the plan in numbers."""

import dataclasses

import numpy as np
import pytest

from pvchat_jax.pretraining.truth import MAX_PEOPLE, PERSON_CLASSES, PLACES, POINTS, POSE_CLASSES, SCENE_CLASSES, labels_of
from pvchat_jax.world.people import IDENTITY_VALUES, Outfit
from pvchat_jax.world.plan import Person, VideoPlan
from pvchat_jax.world.render import render_frames
from pvchat_jax.world.staging import frame_truth
from tests.pretraining.videos import first_base_video, walking

FRAMES = (1, 6, 14)


def described(person: Person) -> dict[str, str]:
    outfit = {"top_colour": person.outfit.colour, "garment": person.outfit.garment, "hat": person.outfit.hat}
    return {name: getattr(person.identity, name) for name in IDENTITY_VALUES} | outfit | {"action": person.action}


def read_back(classes: np.ndarray) -> dict[str, str]:
    return {name: values[number] for (name, values), number in zip(PERSON_CLASSES.items(), classes, strict=True)}


@pytest.mark.parametrize("with_bystander", [False, True])
def test_classes_read_back_as_the_plan(with_bystander: bool) -> None:
    plan = first_base_video(with_bystander=with_bystander)
    labels = labels_of(plan, FRAMES)
    people = [plan.person, plan.bystander] if with_bystander else [plan.person]
    assert [read_back(classes) for classes in labels.person[: len(people)]] == [described(person) for person in people]
    assert [PLACES[place] for place in labels.place[: len(people)]] == [person.position for person in people]
    assert SCENE_CLASSES[labels.scene] == plan.scene


def test_nobody_is_minus_one_and_zero() -> None:
    labels = labels_of(first_base_video(with_bystander=False), FRAMES)
    assert labels.person.shape == (MAX_PEOPLE, len(PERSON_CLASSES))
    assert (labels.person[1] == -1).all()
    assert labels.place[1] == -1
    assert (labels.poses[1] == -1).all() and (labels.poses[0] >= 0).all()
    for name in ("heads", "bodies", "points"):
        assert not getattr(labels, name)[1].any()
        assert getattr(labels, name)[0].any()


def test_who_walks_across_counts_as_in_the_middle() -> None:
    plan = walking(first_base_video(with_bystander=False))
    assert PLACES[labels_of(plan, FRAMES).place[0]] == "centre"


@pytest.mark.parametrize("blurred", [False, True])
def test_boxes_are_those_of_the_frames(blurred: bool) -> None:
    plan = first_base_video(with_bystander=True, blurred=blurred)
    labels, truth = labels_of(plan, FRAMES), frame_truth(plan)
    for index, name in enumerate(("head", "bystander_head")):
        np.testing.assert_allclose(labels.heads[index], np.asarray(truth[name])[list(FRAMES)], atol=1e-4)
    left, top, right, bottom = np.moveaxis(labels.bodies, -1, 0)
    head_left, head_top, head_right, head_bottom = np.moveaxis(labels.heads, -1, 0)
    assert (left <= head_left).all() and (right >= head_right).all()
    assert (top == head_top).all() and (bottom == 1).all() and (bottom > head_bottom).all()


@pytest.mark.parametrize("action", ["wave", "raise arms", "look around", "nod"])
def test_points_are_where_the_figure_has_its_hands_and_face(action: str) -> None:
    """Skin and the red of the mouth in the frames, against the numbers."""
    plan: VideoPlan = first_base_video(with_bystander=False, blurred=False)
    identity = dataclasses.replace(plan.person.identity, skin="tan", mark="none", facial_hair="none", hair_colour="black", gait="steady")
    person = Person(identity=identity, outfit=Outfit(colour="green", garment="shirt"), action=action, position="centre")
    plan = dataclasses.replace(plan, person=person, scene="forest")
    labels = labels_of(plan, FRAMES)
    frames = render_frames(plan, frames=FRAMES).astype(int)
    red, green, blue = np.moveaxis(frames, -1, 0)
    points = dict(zip(POINTS, np.moveaxis(labels.points[0], 1, 0) * frames.shape[1], strict=True))
    for time in range(len(FRAMES)):
        rows, columns = np.nonzero(np.abs(frames[time] - (142, 31, 51)).sum(axis=-1) < 60)
        face_x, face_y = points["face"][time]
        assert columns.mean() == pytest.approx(face_x, abs=3)
        assert rows.mean() == pytest.approx(face_y + 14.5, abs=3)
        for hand in ("left hand", "right hand"):
            x, y = np.round(points[hand][time]).astype(int)
            if 0 <= x < frames.shape[2] and 0 <= y < frames.shape[1]:
                assert red[time, y, x] > green[time, y, x] > blue[time, y, x] > 60, "skin"


def test_poses_tell_where_the_face_turns_and_hands_are_up() -> None:
    def poses(action: str) -> dict[str, set[int]]:
        plan = first_base_video(with_bystander=False)
        identity = dataclasses.replace(plan.person.identity, gait="steady")
        plan = dataclasses.replace(plan, person=dataclasses.replace(plan.person, identity=identity, action=action, position="left"))
        return {name: set(column.tolist()) for name, column in zip(POSE_CLASSES, labels_of(plan, tuple(range(16))).poses[0].T, strict=True)}

    assert poses("stand")["turn"] == {2} and poses("look around")["turn"] == {0, 1, 2, 3, 4}
    assert poses("stand")["tilt"] == {1} and poses("nod")["tilt"] == {0, 1, 2, 3}
    assert poses("stand")["right hand up"] == {0} and poses("wave")["right hand up"] == {4}
    assert poses("wave")["left hand up"] == {0}
    assert len(poses("jump")["height"]) > 3
    assert all(column <= set(range(POSE_CLASSES[name])) for name, column in poses("raise arms").items())
