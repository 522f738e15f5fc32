"""The packaged base finds drawn people and tells them apart."""

import numpy as np
import pytest

from configs import stage2
from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.plan import plan_base_video, reference_video
from pvchat_jax.world.render import render_frames
from tests.synthesis.drawn import head_boxes, video


@pytest.fixture(scope="module")
def reader() -> TinyBaseReader:
    return TinyBaseReader("tiny", stage2.tiny())


def test_a_person_is_found_and_read(reader: TinyBaseReader) -> None:
    plan = reference_video(10)
    [seen] = reader.watch(video(10))
    assert all(seen.most_probable(name) == getattr(plan.person.identity, name) for name in IDENTITY_VALUES)
    assert seen.scene == plan.scene and seen.most_probable("action") == plan.person.action
    assert np.abs(seen.head_boxes * 128 - head_boxes(plan)).mean() < 8
    assert np.isclose(np.linalg.norm(seen.embedding), 1)


def test_looks_are_those_of_the_person_in_the_box(reader: TinyBaseReader) -> None:
    plan = next(plan for index in range(50) if (plan := plan_base_video(78, index)).bystander is not None)
    frames = render_frames(plan)
    for one in (plan.person, plan.bystander):
        middle = {"left": 32.0, "right": 96.0}[one.position]
        looks = reader.look(frames, np.tile([middle - 20, 40.0, middle + 20, 80.0], (len(frames), 1)))
        assert (
            looks.skin == one.identity.skin
            and looks.features["eyes"] == one.identity.eyes
            and looks.truth["outfit"]["colour"] == one.outfit.colour
        )
        assert looks.truth["position"] == one.position and looks.truth["scene"] == plan.scene


def test_faces_are_as_the_protocol_says(reader: TinyBaseReader) -> None:
    faces = reader.read(list(video(10)))
    assert len(faces) == 16
    for [face] in faces:
        left, top, right, bottom = face.box
        assert left < right and top < bottom and 0.5 < face.score <= 1


def test_videos_of_one_person_are_nearer_than_of_two(reader: TinyBaseReader) -> None:
    (halves,) = [[reader.watch(part)[0].embedding for part in (video(10)[::2], video(10)[1::2])]]
    other = reader.watch(video(12))[0].embedding
    assert halves[0] @ halves[1] > reader.same_person > reader.alike > halves[0] @ other


def test_two_people_are_told_apart(reader: TinyBaseReader) -> None:
    plan = next(plan for index in range(50) if (plan := plan_base_video(78, index)).bystander is not None)
    people = reader.watch(render_frames(plan))
    assert len(people) == 2
    true = {plan.person.identity.skin, plan.bystander.identity.skin}
    assert {seen.most_probable("skin") for seen in people} == true
