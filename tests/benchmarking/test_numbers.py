"""The benchmark's five numbers on answers whose scores are known."""

import pytest

from pvchat_jax.benchmarking.numbers import existence_by_person, mean_and_spread, numbers_of
from pvchat_jax.config.evaluation_schema import ALWAYS_NO, ALWAYS_YES
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.constants import constant_answers
from tests.evaluation.answered import content, existence

REFUSAL = "<Wilson> is not here."


def asked() -> list[Answer]:
    """Two videos with the subject and three without; the answers are the gold ones but for two of them."""
    answers = [existence("a", "positive", "yes"), existence("b", "positive", "yes"), existence("c", "easy_negative", "no")]
    answers += [existence("d", "hard_negative", "yes", grade=1), existence("e", "hard_negative", "no", grade=2)]
    for video, wears, does, where in (
        ("a", "A red shirt.", "Waving.", "On the beach, on the left."),
        ("b", "A red shirt.", "Nodding.", "In the snow, on the left."),
    ):
        answers += [
            content(video, "positive", gold, gold, kind) for kind, gold in (("appearance", wears), ("action", does), ("location", where))
        ]
    answers += [content("c", "easy_negative", REFUSAL, REFUSAL), content("d", "hard_negative", REFUSAL, "Waving.")]
    return answers


def test_numbers_of_known_answers() -> None:
    numbers = numbers_of(asked())
    assert numbers["existence_balanced"] == pytest.approx((1 + 2 / 3) / 2)
    assert (numbers["appearance"], numbers["action"], numbers["location"], numbers["refusal"]) == (1, 1, 1, 0.5)


def test_existence_is_told_apart_by_grade() -> None:
    shares = existence_by_person(asked())
    assert shares == {"look-alike, grade 1": 0, "look-alike, grade 2": 1, "present": 1, "stranger": 1}


def test_always_yes_and_always_no_get_no_more_than_guessing() -> None:
    yes, no = (numbers_of(constant_answers(asked(), system)) for system in (ALWAYS_YES, ALWAYS_NO))
    assert yes["existence_balanced"] == no["existence_balanced"] == 0.5
    assert (yes["appearance"], yes["action"], yes["location"], yes["refusal"]) == (1, 0.5, 0.75, 0)
    assert (no["appearance"], no["action"], no["location"], no["refusal"]) == (0, 0, 0, 1)


def test_spread_is_the_sample_standard_deviation() -> None:
    mean, spread = mean_and_spread([{"a": 0.2, "b": 1.0}, {"a": 0.4, "b": 1.0}])
    assert mean == pytest.approx({"a": 0.3, "b": 1.0})
    assert spread == pytest.approx({"a": 0.02**0.5, "b": 0.0})
    assert mean_and_spread([{"a": 0.2}])[1] == {"a": 0.0}
