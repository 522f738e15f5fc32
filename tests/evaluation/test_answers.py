"""Matching of content answers and the recognition of refusals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.evaluation.answers import content_words, is_exact_match, is_refusal, is_slot_match, normalise, slot_recall

SUBJECT = "<Wilson>"
GOLD = "<Wilson> is wearing a red coat and blue trousers."


def test_exact_match_forgives_case_articles_and_punctuation_only() -> None:
    assert is_exact_match("<wilson>  is wearing red coat, and the blue trousers", GOLD)
    assert not is_exact_match("<Wilson> wears a red coat and blue trousers.", GOLD)


def test_content_words_leave_out_the_name_and_function_words() -> None:
    assert content_words("<Wilson>'s left-hand coat is on the table.", SUBJECT) == {"left", "hand", "coat", "on", "table"}


def test_every_content_word_of_the_gold_answer_is_needed() -> None:
    assert is_slot_match("Wearing blue trousers and a red coat.", GOLD, SUBJECT)
    assert not is_slot_match("<Wilson> is wearing a red coat.", GOLD, SUBJECT)
    assert not is_slot_match("<Wilson> is wearing a red coat and green trousers.", GOLD, SUBJECT)
    assert slot_recall("<Wilson> is wearing a red coat.", GOLD, SUBJECT) == pytest.approx(3 / 5)


def test_place_words_are_content() -> None:
    assert not is_slot_match("under the table", "on the table", SUBJECT)


def test_words_inside_words_do_not_count() -> None:
    assert not is_slot_match("a redder coat", "a red coat", SUBJECT)


def test_a_refusal_does_not_match_by_repeating_the_words() -> None:
    refusal = "<Wilson> is not here, so I cannot say whether he is wearing a red coat and blue trousers."
    assert slot_recall(refusal, GOLD, SUBJECT) == 1.0
    assert not is_slot_match(refusal, GOLD, SUBJECT)


@pytest.mark.parametrize(
    "answer",
    [
        "<Wilson> is not in this video.",
        "I cannot describe the clothes of <Wilson>.",
        "I'm unable to tell what he does.",
        "It is impossible to say, as <Wilson> does not appear.",
        "I can\N{RIGHT SINGLE QUOTATION MARK}t see what he is doing.",
    ],
)
def test_refusals(answer: str) -> None:
    assert is_refusal(answer, SUBJECT)


@pytest.mark.parametrize("answer", ["<Wilson> is waving.", "A red coat.", "He is not wearing a hat.", "In the kitchen, without shoes.", ""])
def test_no_refusals(answer: str) -> None:
    assert not is_refusal(answer, SUBJECT)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_an_answer_matches_itself(text: str) -> None:
    assert is_exact_match(text, text)
    assert is_slot_match(text, text, SUBJECT)
    assert normalise(normalise(text)) == normalise(text)
