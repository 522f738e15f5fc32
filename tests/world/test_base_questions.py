"""Base questions tell people by place or looks, and what they tell is true."""

import functools
import re

import pytest

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import Question
from pvchat_jax.world.base_questions import ANYBODY, all_features, ask_anybody, feature_in_words
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.plan import Person, VideoPlan, plan_base_video
from pvchat_jax.world.questions import content_answer

FEATURES = {feature_in_words(attribute, value): (attribute, value) for attribute, values in IDENTITY_VALUES.items() for value in values}
WORDS = "|".join(sorted(FEATURES, key=len, reverse=True))
BY_LOOKS = re.compile(rf"the person with ((?:{WORDS})(?: and (?:{WORDS}))*)")
PLACES = {"on the left": "left", "in the middle": "centre", "on the right": "right"}
BY_PLACE = re.compile(rf"the person ({'|'.join(PLACES)})")
YES, NO, ABSENT = "Yes, <person> is here.", "No, <person> is not here.", "<person> is not here."


@functools.cache
def asked() -> tuple[tuple[VideoPlan, Question], ...]:
    plans = [plan_base_video(0, index) for index in range(250)]
    return tuple((plan, question) for plan in plans for question in ask_anybody(plan))


def people_of(plan: VideoPlan) -> list[Person]:
    return [person for person in (plan.person, plan.bystander) if person is not None]


def meant(plan: VideoPlan, text: str) -> list[Person]:
    """Everybody in the video whom the question's description fits."""
    people = people_of(plan)
    if looks := BY_LOOKS.search(text):
        features = [FEATURES[words] for words in looks[1].split(" and ")]
        assert len(dict(features)) == len(features), text
        return [person for person in people if all(getattr(person.identity, name) == value for name, value in features)]
    if place := BY_PLACE.search(text):
        return [person for person in people if person.position == PLACES[place[1]]]
    assert ANYBODY in text
    return people


def test_every_feature_has_words_of_its_own() -> None:
    assert sorted(FEATURES) == sorted(all_features())
    assert len(FEATURES) == sum(map(len, IDENTITY_VALUES.values()))


def test_descriptions_fit_exactly_one_person_or_nobody() -> None:
    for plan, question in asked():
        absent = question.answer in (NO, ABSENT)
        assert len(meant(plan, question.question)) == (0 if absent else 1), (question, people_of(plan))


def test_answers_are_true() -> None:
    for plan, question in asked():
        fitting = meant(plan, question.question)
        if question.type == "existence":
            assert question.answer == (YES if fitting else NO)
        else:
            assert question.answer == (content_answer(question.type, plan.scene, fitting[0]) if fitting else ABSENT)


def test_existence_is_asked_by_looks_and_half_of_it_about_nobody() -> None:
    existence = [question for _, question in asked() if question.type == "existence"]
    assert all(BY_LOOKS.search(question.question) for question in existence)
    assert [question.answer for question in existence] == [YES, NO] * (len(existence) // 2)


def test_absent_people_differ_in_one_feature_from_somebody_who_is_there() -> None:
    """Nobody is so obviously absent that looking is needless."""
    for plan, question in asked():
        if question.answer in (NO, ABSENT):
            features = [FEATURES[words] for words in BY_LOOKS.search(question.question)[1].split(" and ")]
            wrong = [sum(getattr(person.identity, name) != value for name, value in features) for person in people_of(plan)]
            assert min(wrong) == 1


def test_every_attribute_and_value_is_asked_about() -> None:
    for answer in (YES, NO):
        looks = [BY_LOOKS.search(question.question)[1] for _, question in asked() if question.answer == answer]
        assert {words for description in looks for words in description.split(" and ")} == set(FEATURES)


@pytest.mark.parametrize("kind", [kind for kind in QUESTION_TYPES if kind != "existence"])
def test_content_is_asked_in_every_way(kind: str) -> None:
    questions = [(plan, question) for plan, question in asked() if question.type == kind]
    texts = [question.question for _, question in questions]
    refused = sum(question.answer == ABSENT for _, question in questions) / len(questions)
    assert 0.05 < refused < 0.2
    for way in (BY_LOOKS, BY_PLACE, re.compile(ANYBODY)):
        assert sum(bool(way.search(text)) for text in texts) > 0.1 * len(texts)
    alone = [question.question for plan, question in questions if plan.bystander is None]
    if kind == "location":  # the place would be the answer
        assert not any(BY_PLACE.search(text) for text in alone)
    in_company = [question.question for plan, question in questions if plan.bystander is not None]
    assert in_company
    assert not any(ANYBODY in text for text in in_company)


def test_questions_follow_from_the_video_alone() -> None:
    plan = plan_base_video(5, 1)
    assert ask_anybody(plan) == ask_anybody(plan)
    numbers = [sum(question.type == kind for question in ask_anybody(plan, num_existence=6, num_content=1)) for kind in QUESTION_TYPES]
    assert sorted(numbers) == [1, 1, 1, 6]
