"""How far scores would move with other subjects and other videos: 95 % intervals, of one run and of the difference of two.

Answers about one video depend on each other, and so do videos of one person. So whole subjects are drawn with replacement and, of
each, whole videos; with and without the subject apart, so that every resample has both. With one subject its videos alone are
drawn, and the interval says nothing about other subjects. Percentile intervals, as in Efron and Tibshirani (1993).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.metrics.metric import Metric, Videos, videos_of

NUM_RESAMPLES = 2000
_MAX_UNDEFINED = 0.05  # of the resamples; with more, an interval would be about the others alone


class Interval(NamedTuple):
    """Lower and upper end of a 95 % interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """How much the second run scores above the first on the same questions, and the two-sided p value of no difference."""

    value: float
    interval: Interval
    p_value: float


def draw_weights(videos: Videos, seed: int = 0) -> np.ndarray:
    """How often each video is drawn, float[NUM_RESAMPLES, V]."""
    rng = np.random.default_rng(seed)
    subjects = np.unique(videos.subject)
    if len(subjects) > 1:
        times = rng.multinomial(len(subjects), np.full(len(subjects), 1 / len(subjects)), size=NUM_RESAMPLES)  # [B, subjects]
    else:
        times = np.ones((NUM_RESAMPLES, 1), int)
    weights = np.zeros((NUM_RESAMPLES, videos.num))
    for column, subject in enumerate(subjects):
        for present in (True, False):
            (own,) = np.nonzero((videos.subject == subject) & (videos.present == present))
            if len(own):
                weights[:, own] = rng.multinomial(times[:, column] * len(own), np.full(len(own), 1 / len(own)))
    return weights


def interval_of(values: np.ndarray) -> Interval | None:
    """The interval from the values of resamples; None where a score is undefined in too many of them."""
    undefined = np.isnan(values)
    if undefined.mean() > _MAX_UNDEFINED:
        return None
    low, high = np.percentile(values[~undefined], [2.5, 97.5])
    return Interval(float(low), float(high))


def bootstrap(metric: Metric, answers: Sequence[Answer], seed: int = 0) -> Interval | None:
    """95 % interval of the score of `answers`; None where the score is undefined."""
    if not answers:
        return None
    videos = videos_of(answers)
    return interval_of(metric.statistic(answers, videos)(draw_weights(videos, seed)))


def paired_bootstrap(metric: Metric, first: Sequence[Answer], second: Sequence[Answer], seed: int = 0) -> Difference | None:
    """The difference of two runs, whose resamples are of the same subjects and videos; None where it is undefined.

    Args:
      first, second: answers to the same questions in the same order.
    """
    if not first:
        return None
    videos = videos_of(first)
    statistics = [metric.statistic(answers, videos) for answers in (first, second)]
    once = np.ones((1, videos.num))
    value = float(statistics[1](once)[0] - statistics[0](once)[0])
    weights = draw_weights(videos, seed)
    differences = statistics[1](weights) - statistics[0](weights)
    interval = interval_of(differences)
    if np.isnan(value) or interval is None:
        return None
    known = differences[~np.isnan(differences)]
    tails = [(1 + int(np.sum(known <= 0))) / (1 + len(known)), (1 + int(np.sum(known >= 0))) / (1 + len(known))]
    return Difference(value, interval, min(1.0, 2 * min(tails)))
