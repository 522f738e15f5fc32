"""Answers get the subject's name where they speak of the person, and nowhere else; what could be wrong is left out."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.synthesis.asking.rewriting import MAX_WORDS, find_fault, rewrite_answer

SUBJECT = "<Wilson>"


@pytest.mark.parametrize(
    ("question_type", "answer", "expected"),
    [
        (
            "appearance",
            "The person wears a shirt. He has short hair.",
            "<Wilson> wears a shirt. <Wilson> has short hair.",
        ),
        ("appearance", "A young man in a suit sits there. His hair is dark.", "<Wilson> in a suit sits there. <Wilson>'s hair is dark."),
        ("appearance", "The person in the video is a man. He wears a cap.", "<Wilson> is a man. <Wilson> wears a cap."),
        ("appearance", "The woman's coat is blue and her hat is red.", "<Wilson>'s coat is blue and her hat is red."),
        ("appearance", "Her dress is green.", "<Wilson>'s dress is green."),
        ("appearance", "A cap suits her.", "A cap suits <Wilson>."),
        ("appearance", "A red shirt and jeans", "<Wilson> has a red shirt and jeans."),
        ("appearance", "Wearing a coat.", "<Wilson> is wearing a coat."),
        ("appearance", "The person wears a shirt with no visible logo.", "<Wilson> wears a shirt with no visible logo."),
        ("action", "He\N{RIGHT SINGLE QUOTATION MARK}s running while she is dancing.", None),
        ("action", "He's running. He's got a ball. He'll jump.", "<Wilson> is running. <Wilson> has got a ball. <Wilson> will jump."),
        ("action", "They are waving. They are red.", "<Wilson> is waving."),
        ("action", "They\N{RIGHT SINGLE QUOTATION MARK}re slowly walking.", "<Wilson> is slowly walking."),
        ("action", "Walking along a beach.", "<Wilson> is walking along a beach."),
        ("action", "There is a man who is dancing.", "<Wilson> is dancing."),
        ("action", "1. He waves.\n2. He nods", "<Wilson> waves. <Wilson> nods."),
        ("location", "In this video, the person stands by a door.", "In this video, <Wilson> stands by a door."),
        ("location", "On the left, near a sofa.", "<Wilson> is on the left, near a sofa."),
    ],
)
def test_mentions_become_the_name(question_type: str, answer: str, expected: str | None) -> None:
    rewritten = rewrite_answer(answer, question_type, SUBJECT)
    assert rewritten.text == (expected or "") and bool(rewritten.fault) == (expected is None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The person talks to a woman. She laughs. The person nods.", "<Wilson> talks to a woman. <Wilson> nods."),
        ("The person is next to another man. He is tall.", "<Wilson> is next to another man."),
        ("The man waves. The woman nods. He leaves.", "<Wilson> waves."),
        ("They talk to a woman. She laughs. The person nods.", "<Wilson> nods."),
        ("The person walks in front of people. They are running.", "<Wilson> walks in front of people."),
        ("The person buys shoes. They are green.", "<Wilson> buys shoes."),
        ("The person juggles. Their dogs bark.", "<Wilson> juggles."),
    ],
)
def test_sentences_that_may_be_about_others_are_left_out(answer: str, expected: str) -> None:
    assert rewrite_answer(answer, "action", SUBJECT).text == expected


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "?!",
        "The wall is white.",
        "I cannot see the person in this video.",
        "The person is not visible. The person's coat hangs on a chair.",
        "There is no person here.",
        "It is unclear what the person is doing.",
        "I'm sorry, but I can't help with identifying people.",
        "<Ada> waves at the person.",
    ],
)
def test_answers_of_no_use_are_refused_with_a_reason(answer: str) -> None:
    rewritten = rewrite_answer(answer, "action", SUBJECT)
    assert rewritten.text == "" and repr(answer) in rewritten.fault


def test_what_cannot_be_told_is_left_out() -> None:
    answer = "It is hard to tell the colour. The person wears a coat."
    assert rewrite_answer(answer, "appearance", SUBJECT).text == "<Wilson> wears a coat."


def test_long_answers_end_at_a_sentence() -> None:
    text = rewrite_answer("The person waves and then claps loudly. " * 30, "action", SUBJECT).text
    assert MAX_WORDS - 7 < len(text.split()) <= MAX_WORDS and text.endswith("loudly.")


@pytest.mark.parametrize(
    ("answer", "present", "fault"),
    [
        ("<Wilson> is waving.", True, ""),
        ("<Wilson> is not here.", False, ""),
        ("He is waving.", True, "does not name"),
        ("<Wilson> waves as he walks.", True, "'he'"),
        ("<Wilson> waves at <Ada>.", True, "somebody else"),
        ("<Wilson> is absent.", True, "contradicts"),
        ("<Wilson> is waving.", False, "contradicts"),
    ],
)
def test_faults(answer: str, present: bool, fault: str) -> None:
    found = find_fault(answer, SUBJECT, present=present)
    assert fault in found and bool(found) == bool(fault)


# Answers made of parts, all of them about one person.
OPENINGS = ("The person", "This person", "The individual", "A man", "The man", "The young man", "He", "The bearded man in the video")
LATER = ("The person", "The man", "He", "The man in this clip")
PREDICATES = (
    "is wearing a blue jacket",
    "waves with both hands while he smiles",
    "sits beside a large window",
    "has short grey hair",
    "is walking slowly, then turns around",
    "holds his hat",
    "looks at the camera because the man is curious",
)
NAMES = ("<Wilson>", "<The Man>", "<He>", "Ada", "<No>", "<\u00dcnal>", "\\1<x>", "<Her>")


@st.composite
def answers(draw: st.DrawFn) -> str:
    parts = [f"{draw(st.sampled_from(OPENINGS))} {draw(st.sampled_from(PREDICATES))}."]
    parts += [f"{draw(st.sampled_from(LATER))} {predicate}." for predicate in draw(st.lists(st.sampled_from(PREDICATES), max_size=3))]
    return draw(st.sampled_from([" ", "  ", "\n", "\n- "])).join(parts)


def words(text: str) -> list[str]:
    """Without whatever mentions the person."""
    mention = r"<Wilson>|\b(?:the|this|a) (?:young |bearded )?(?:man|person|individual)(?: in (?:the video|this clip))?\b|\bhe\b|[-.]"
    return re.sub(mention, " ", text, flags=re.IGNORECASE).split()


@given(answers())
@settings(max_examples=150, deadline=None)
def test_everything_said_of_one_person_is_kept_and_named(answer: str) -> None:
    text = rewrite_answer(answer, "action", SUBJECT).text
    assert words(text) == words(answer)
    assert all(SUBJECT in sentence for sentence in re.split(r"(?<=\.) ", text))
    assert not re.search(r"\b(?:he|man|person|individual)\b", text, re.IGNORECASE)
    assert find_fault(text, SUBJECT, present=True) == ""
    assert rewrite_answer(text, "action", SUBJECT).text == text


@given(answers(), st.sampled_from(NAMES))
@settings(max_examples=100, deadline=None)
def test_the_name_does_not_matter(answer: str, name: str) -> None:
    assert rewrite_answer(answer, "action", name).text == rewrite_answer(answer, "action", SUBJECT).text.replace(SUBJECT, name)


OTHER_WORDS = ("she", "They are", "a woman", "not", "cannot see", "in this video", ".", "?", "\n", "'s", "her", "<Ada>", "no", "one man")
mixtures = st.lists(st.sampled_from(OPENINGS + PREDICATES + OTHER_WORDS)).map(" ".join)


@given(st.one_of(st.text(), mixtures), st.sampled_from(("appearance", "action", "location")))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_out_names_the_subject_and_does_not_deny_it(answer: str, question_type: str) -> None:
    text, fault = rewrite_answer(answer, question_type, SUBJECT)
    assert bool(text) != bool(fault)
    if text:
        assert SUBJECT in text and not re.search(r"\b(?:he|she|they)\b", text, re.IGNORECASE)
        assert find_fault(text, SUBJECT, present=True) == "" and len(text.split()) <= MAX_WORDS + 4
