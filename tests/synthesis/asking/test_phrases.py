"""What the phrase banks say is what both readers of answers understand, for every sentence and every combination of people."""

import itertools

import pytest

from pvchat_jax.data.presence import parse_presence
from pvchat_jax.data.presence_cues import denies_presence
from pvchat_jax.data.reference_json import question_type
from pvchat_jax.synthesis.asking.joint_phrases import JOINT_QUESTIONS, JointQuestion, joint_answers, joint_question
from pvchat_jax.synthesis.asking.phrases import CONTENT_TYPES, PHRASES, Existence

NAMES = ("<Wilson>", "<Ada>", "<Bo>", "<Cy>")
SUBJECT = NAMES[0]


@pytest.mark.parametrize("existence", PHRASES.existence)
def test_yes_says_present_and_no_says_absent(existence: Existence) -> None:
    question, yes, no = (text.format(name=SUBJECT) for text in existence)
    assert SUBJECT in question and question_type(question, is_special=True) == "existence"
    assert parse_presence(yes, SUBJECT) == "present" and not denies_presence(yes, SUBJECT), yes
    assert parse_presence(no, SUBJECT) == "absent" and denies_presence(no, SUBJECT), no


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_refusals_deny_that_the_subject_is_there(content_type: str) -> None:
    for refusal in PHRASES.refusals[content_type]:
        text = refusal.format(name=SUBJECT)
        assert parse_presence(text, SUBJECT) == "absent" and denies_presence(text, SUBJECT), text


def test_there_are_enough_phrases_and_none_twice() -> None:
    assert len(PHRASES.existence) >= 25
    assert all(len(PHRASES.content[name]) >= 5 and len(PHRASES.refusals[name]) >= 5 for name in CONTENT_TYPES)
    questions = [existence.question for existence in PHRASES.existence] + list(itertools.chain(*PHRASES.content.values()))
    assert len(set(questions)) == len(questions) and all(text.count("{name}") == 1 for text in questions)


@pytest.mark.parametrize("phrases", JOINT_QUESTIONS, ids=lambda phrases: phrases.question)
@pytest.mark.parametrize("number", [2, 3, 4])
def test_joint_answers_tell_of_everybody_whether_they_are_there(phrases: JointQuestion, number: int) -> None:
    names = NAMES[:number]
    assert all(name in joint_question(phrases, names) for name in names)
    for present in itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(number + 1)):
        for text in joint_answers(phrases, names, present):
            for name in names:
                assert parse_presence(text, name) == ("present" if name in present else "absent"), (text, name)
