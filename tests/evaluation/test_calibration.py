"""Reliability of the probability of Yes."""

import math

import pytest

from pvchat_jax.evaluation.calibration import balanced_accuracy_at, calibrate, yes_probability
from tests.evaluation.answered import content, existence


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_bins_hold_what_was_predicted_and_what_was_there() -> None:
    answers = [existence("a", "positive", "yes", log_odds(0.82)), existence("b", "easy_negative", "yes", log_odds(0.88))]
    answers += [
        existence("c", "easy_negative", "no", log_odds(0.25)),
        existence("d", "easy_negative", "no"),
        content("a", "positive", "", ""),
    ]
    low, high = calibrate(answers).bins
    assert (low.low, low.high, low.num_questions, low.present_rate) == (0.2, 0.3, 1, 0.0)
    assert (high.num_questions, high.present_rate) == (2, 0.5)
    assert high.mean_probability == pytest.approx(0.85)


def test_the_expected_error_weighs_bins_by_their_answers() -> None:
    answers = [existence("a", "positive", "yes", log_odds(0.85))] * 3 + [existence("b", "easy_negative", "no", log_odds(0.25))]
    assert calibrate(answers).expected_error == pytest.approx((3 * 0.15 + 0.25) / 4)


def test_extreme_log_odds_have_their_bin() -> None:
    certain = [existence("a", "positive", "yes", 900.0), existence("b", "easy_negative", "no", -900.0)]
    assert [item.num_questions for item in calibrate(certain).bins] == [1, 1]
    assert calibrate(certain).expected_error == pytest.approx(0.0)
    assert yes_probability(0.0) == 0.5


def test_without_log_odds_there_is_nothing_to_say() -> None:
    assert calibrate([existence("a", "positive", "yes")]) is None
    assert balanced_accuracy_at([existence("a", "positive", "yes", 1.0)], 0.0) is None


def test_a_threshold_moves_the_verdict() -> None:
    answers = [existence("a", "positive", "yes", 3.0), existence("b", "positive", "yes", 0.5), existence("c", "easy_negative", "yes", 1.0)]
    assert balanced_accuracy_at(answers, 0.0) == 0.5
    assert balanced_accuracy_at(answers, 2.0) == 0.75
