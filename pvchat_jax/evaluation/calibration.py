"""Whether the model's probability of "Yes" is how often the subject is there."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.evaluation.answer_record import Answer

_NUM_BINS = 10


class Bin(NamedTuple):
    """Existence answers with a probability of "Yes" from `low` to `high`.

    Attributes:
      mean_probability: of these answers.
      present_rate: share of them whose video shows the subject.
    """

    low: float
    high: float
    num_questions: int
    mean_probability: float
    present_rate: float


class Calibration(NamedTuple):
    """The bins that hold answers, in ascending order.

    `expected_error` is the expected calibration error: the mean over answers of the distance between their bin's mean
    probability and its share of present videos (Naeini et al., 2015).
    """

    bins: tuple[Bin, ...]
    expected_error: float


def yes_probability(log_odds: float) -> float:
    """p("Yes") against "No" from the log-odds in nats, in [0, 1]."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    return math.exp(log_odds) / (1 + math.exp(log_odds))


def bin_terms(answer: Answer) -> tuple[float, ...] | None:
    """What an answer adds to the bins: for each of them the number of answers, their probabilities and their present videos."""
    if answer.log_odds is None:
        return None
    probability = yes_probability(answer.log_odds)
    terms = np.zeros((_NUM_BINS, 3))
    terms[min(int(probability * _NUM_BINS), _NUM_BINS - 1)] = 1.0, probability, answer.present
    return tuple(terms.ravel().tolist())


def expected_error(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error float[...] from the sums float[..., 30] of `bin_terms`; NaN without answers."""
    bins = sums.reshape(*sums.shape[:-1], _NUM_BINS, 3)
    total = bins[..., 0].sum(-1)
    apart = np.abs(bins[..., 1] - bins[..., 2]).sum(-1)
    return np.divide(apart, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def calibrate(answers: Sequence[Answer]) -> Calibration | None:
    """Reliability of the existence answers in ten bins of equal width; None if none has log-odds."""
    terms = [terms for answer in answers if (terms := bin_terms(answer)) is not None]
    if not terms:
        return None
    sums = np.sum(terms, axis=0)
    bins = tuple(
        Bin(
            low=index / _NUM_BINS,
            high=(index + 1) / _NUM_BINS,
            num_questions=int(count),
            mean_probability=float(probability / count),
            present_rate=float(present / count),
        )
        for index, (count, probability, present) in enumerate(sums.reshape(_NUM_BINS, 3))
        if count
    )
    return Calibration(bins, float(expected_error(sums)))


def balanced_accuracy_at(answers: Sequence[Answer], threshold: float) -> float | None:
    """Balanced accuracy of saying present where the log-odds are above `threshold` nats; None unless both classes have log-odds."""
    above = {
        present: [answer.log_odds > threshold for answer in answers if answer.log_odds is not None and answer.present == present]
        for present in (True, False)
    }
    if not above[True] or not above[False]:
        return None
    return (sum(above[True]) / len(above[True]) + 1 - sum(above[False]) / len(above[False])) / 2
