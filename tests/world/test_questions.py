import dataclasses
import re

import pytest

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.world.people import Outfit
from pvchat_jax.world.plan import VideoPlan, plan_video, reference_video
from pvchat_jax.world.questions import TEST_PHRASINGS, TRAIN_PHRASINGS, appearance_answer, ask, location_answer
from pvchat_jax.world.vocabulary import sentences


def answers(plan: VideoPlan) -> dict[str, set[str]]:
    return {kind: {question.answer for question in ask(plan, "<Ada>") if question.type == kind} for kind in QUESTION_TYPES}


def positive(**person: object) -> VideoPlan:
    plan = plan_video(0, "train", 0)
    return dataclasses.replace(plan, scene="beach", person=dataclasses.replace(plan.person, **person))


def test_answers_about_somebody_present_follow_the_plan() -> None:
    plan = positive(outfit=Outfit(colour="orange", garment="striped shirt", hat="cap"), action="raise arms", position="left")
    assert answers(plan) == {
        "existence": {"Yes, <Ada> is here."},
        "appearance": {"An orange striped shirt and a cap."},
        "action": {"Raising both arms."},
        "location": {"On the beach, on the left."},
    }


def test_who_walks_across_is_nowhere_in_particular() -> None:
    assert location_answer("snow", "walk left", None) == "In the snow, moving left."
    assert answers(positive(action="walk right", position=None))["location"] == {"On the beach, moving right."}


def test_no_hat_goes_unmentioned() -> None:
    assert appearance_answer(Outfit(colour="red", garment="jacket")) == "A red jacket."


def test_nothing_is_told_of_somebody_absent() -> None:
    for index in (1, 3):
        found = answers(plan_video(0, "train", index))
        assert found.pop("existence") == {"No, <Ada> is not here."}
        assert set.union(*found.values()) == {"<Ada> is not here."}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", ["existence"] * 2 + ["appearance"] * 2 + ["action"] * 4 + ["location"] * 2),  # actions have the shortest answers
        ("test", ["existence"] * 2 + ["appearance"] * 2 + ["action"] * 2 + ["location"] * 2),
    ],
)
def test_every_type_is_asked_for_in_different_words_that_name_the_subject(split: str, expected: list[str]) -> None:
    for index in range(20):
        questions = ask(plan_video(0, split, index), "<Ada>")
        assert [question.type for question in questions] == expected
        assert len({question.question for question in questions}) == len(questions)
        assert all("<Ada>" in question.question for question in questions)


def test_tests_ask_in_words_of_their_own() -> None:
    asked = {
        split: {question.question for index in range(600) for question in ask(plan_video(0, split, index), "<Ada>")}
        for split in ("train", "calibration", "test")
    }
    asked["reference"] = {question.question for seed in range(60) for question in ask(reference_video(seed), "<Ada>")}
    assert not asked["train"] & asked["test"]
    assert asked["train"] == asked["calibration"] > asked["reference"]
    assert len(asked["train"]) == sum(map(len, TRAIN_PHRASINGS.values())) > 300
    assert len(asked["test"]) == sum(map(len, TEST_PHRASINGS.values()))


def test_words_are_few_and_answers_short() -> None:
    words = {word for sentence in sentences("<Ada>") for word in re.findall(r"\w+", sentence.lower())}
    assert len(words) < 200
    assert all(
        len(answer.split()) <= 8 for index in range(100) for kinds in answers(plan_video(0, "test", index)).values() for answer in kinds
    )


def test_held_out_phrasings_use_known_words() -> None:
    train, test = (
        {word for phrasings in table.values() for phrasing in phrasings for word in re.findall(r"\w+", phrasing.lower())}
        for table in (TRAIN_PHRASINGS, TEST_PHRASINGS)
    )
    assert test - train == {"find", "seen", "show"}
