"""Who plays which role: nobody who may be the subject is ever a negative."""

import dataclasses
import math

import pytest

from pvchat_jax.synthesis.people.casting import cast_in_test, cast_others, similarity
from pvchat_jax.synthesis.people.finding import Found
from pvchat_jax.synthesis.records import Person
from tests.synthesis.fakes import SquareReader
from tests.synthesis.made import person, source

READER = SquareReader()  # 0.95 is the same person, 0.6 a look-alike


def at(likeness: float, index: int = 0) -> Person:
    """Somebody of this similarity to `person()`, with a face that is large enough."""
    track = tuple(dataclasses.replace(sighting, box=(0.0, 0.0, 60.0, 60.0)) for sighting in person().tracks[0])
    embedding = (likeness, math.sqrt(1 - likeness**2))
    return dataclasses.replace(person(), index=index, tracks=(track,), embedding=embedding)


def test_others_are_look_alikes_or_strangers_and_who_may_be_the_subject_is_set_aside():
    people = [at(likeness, index) for index, likeness in enumerate((0.2, 0.96, 0.7, 0.95))]
    members, aside = cast_others(person(), [Found(source("2"), people)], READER, {"2": "train"})
    assert [(member.role, member.person.index) for member in members] == [("hard_negative", 2), ("easy_negative", 0)]
    assert [item.item for item in aside] == ["2.mp4, person 1", "2.mp4, person 3"]
    assert all("may be the subject" in item.reason for item in aside)


def test_a_face_that_is_too_small_is_set_aside():
    small = dataclasses.replace(person(), embedding=(0.2, math.sqrt(0.96)))
    members, (aside,) = cast_others(person(), [Found(source("2"), [small])], READER, {"2": "train"})
    assert members == [] and "48" in aside.reason


def test_a_test_video_without_the_subject_is_set_aside_as_a_whole():
    members, aside = cast_in_test(person(), Found(source("3"), [at(0.96), at(0.7)]), READER)
    assert [member.role for member in members] == ["positive", "hard_negative"] and aside == []
    members, (aside,) = cast_in_test(person(), Found(source("3"), [at(0.7)]), READER)
    assert members == [] and "only other people" in aside.reason


def test_embeddings_of_different_readers_are_not_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        similarity(person(), dataclasses.replace(person(), reader="other/1"))
