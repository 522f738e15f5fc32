"""Dense labels are the plan in numbers."""

import numpy as np
import pytest

from pvchat_jax.pretraining.truth import MAX_PEOPLE, PERSON_CLASSES, PLACES, POSE_SCALES, SCENE_CLASSES, labels_of
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.plan import Person, VideoPlan
from pvchat_jax.world.staging import frame_truth, stage
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
    for name in ("heads", "bodies", "poses"):
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


def test_poses_are_offsets_in_typical_sizes() -> None:
    plan: VideoPlan = first_base_video(with_bystander=False)
    pose = stage(plan, FRAMES, shutter=False).people[0].pose
    numbers = labels_of(plan, FRAMES).poses[0] * POSE_SCALES
    np.testing.assert_allclose(numbers[:, 3], pose.head_y, atol=1e-5)
    np.testing.assert_allclose(numbers[:, 7], pose.arms[0].up, atol=1e-4)
    np.testing.assert_allclose(numbers[:, 8], pose.arms[1].out, atol=1e-4)
