"""Whether the model's probability of "Yes" is how often the subject is there."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pvchat_jax.evaluation.scores import Answer

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


def calibrate(answers: Sequence[Answer]) -> Calibration | None:
    """Reliability of the existence answers in ten bins of equal width; None if none has log-odds."""
    grouped: list[list[tuple[float, bool]]] = [[] for _ in range(_NUM_BINS)]
    for answer in answers:
        if answer.log_odds is not None:
            probability = yes_probability(answer.log_odds)
            grouped[min(int(probability * _NUM_BINS), _NUM_BINS - 1)].append((probability, answer.present))
    bins = tuple(
        Bin(
            low=index / _NUM_BINS,
            high=(index + 1) / _NUM_BINS,
            num_questions=len(group),
            mean_probability=sum(probability for probability, _ in group) / len(group),
            present_rate=sum(present for _, present in group) / len(group),
        )
        for index, group in enumerate(grouped)
        if group
    )
    if not bins:
        return None
    total = sum(item.num_questions for item in bins)
    return Calibration(bins, sum(item.num_questions * abs(item.mean_probability - item.present_rate) for item in bins) / total)


def balanced_accuracy_at(answers: Sequence[Answer], threshold: float) -> float | None:
    """Balanced accuracy of saying present where the log-odds are above `threshold` nats; None unless both classes have log-odds."""
    above = {
        present: [answer.log_odds > threshold for answer in answers if answer.log_odds is not None and answer.present == present]
        for present in (True, False)
    }
    if not above[True] or not above[False]:
        return None
    return (sum(above[True]) / len(above[True]) + 1 - sum(above[False]) / len(above[False])) / 2
