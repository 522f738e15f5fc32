"""What a score is: a statistic of answers, whose videos can be weighted.

A bootstrap draws videos with replacement, which gives every video a whole number as its weight; the score itself has weights of
one. So one definition gives the score, its interval, and the interval of the difference of two runs.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from pvchat_jax.evaluation.answer_record import Answer

# Weights float[B, V] of videos to scores float[B]; NaN where a score is undefined, as one class is missing.
Statistic = Callable[[np.ndarray], np.ndarray]
Unit = Literal["percent", "share", "rating"]

_ROWS_AT_ONCE = 1024


class Videos(NamedTuple):
    """The videos behind answers, each once for every subject that is asked about.

    Attributes:
      index: int[A], the video of every answer.
      subject: int[V], the number of the subject of every video.
      present: bool[V], whether the video shows that subject.
    """

    index: np.ndarray
    subject: np.ndarray
    present: np.ndarray

    @property
    def num(self) -> int:
        return len(self.subject)

    @property
    def num_subjects(self) -> int:
        return len(np.unique(self.subject))


def videos_of(answers: Sequence[Answer]) -> Videos:
    """The videos of `answers`, in the order in which they first occur."""
    keys: dict[tuple[str, str, bool], int] = {}
    subjects: dict[str, int] = {}
    index = [keys.setdefault((answer.subject, answer.video, answer.present), len(keys)) for answer in answers]
    subject = [subjects.setdefault(name, len(subjects)) for name, _, _ in keys]
    return Videos(np.array(index, int), np.array(subject, int), np.array([present for _, _, present in keys], bool))


class Metric(Protocol):
    """A score.

    Attributes:
      key: its name in files. title: its name on the page. unit: `percent` is a share in [0, 1] that is shown times 100.
      higher_is_better: or else lower.
    """

    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> Unit: ...
    @property
    def higher_is_better(self) -> bool: ...

    def count(self, answers: Sequence[Answer]) -> int:
        """How many of `answers` the score is about."""
        ...

    def statistic(self, answers: Sequence[Answer], videos: Videos) -> Statistic:
        """The score as a function of the weights of `videos`, which are those of `answers`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class SumMetric:
    """A score that follows from sums over answers, such as a share.

    Attributes:
      terms: what an answer adds to the sums, or None where the score is not about it.
      finish: sums float[..., K] to scores float[...]; NaN where undefined.
    """

    key: str
    title: str
    terms: Callable[[Answer], Sequence[float] | None]
    finish: Callable[[np.ndarray], np.ndarray]
    unit: Unit = "percent"
    higher_is_better: bool = True

    def remembering(self) -> "SumMetric":
        """The same score, which looks at each answer once, however many slices it is in."""
        return dataclasses.replace(self, terms=functools.cache(self.terms))

    def count(self, answers: Sequence[Answer]) -> int:
        """See `Metric`."""
        return sum(self.terms(answer) is not None for answer in answers)

    def statistic(self, answers: Sequence[Answer], videos: Videos) -> Statistic:
        """See `Metric`."""
        rows = [(video, terms) for video, answer in zip(videos.index, answers, strict=True) if (terms := self.terms(answer)) is not None]
        if not rows:
            return lambda weights: np.full(len(weights), np.nan)
        sums = np.zeros((videos.num, len(rows[0][1])))
        np.add.at(sums, [video for video, _ in rows], np.array([terms for _, terms in rows], float))
        return lambda weights: self.finish(weights @ sums)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankMetric:
    """The chance that a random answer about a present subject scores above one about an absent subject, ties counting half.

    That is the area under the ROC curve.

    Attributes:
      value: what answers are ranked by, or None where the score is not about it.
    """

    key: str
    title: str
    value: Callable[[Answer], float | None]
    unit: Unit = "share"
    higher_is_better: bool = True

    def count(self, answers: Sequence[Answer]) -> int:
        """See `Metric`."""
        return sum(self.value(answer) is not None for answer in answers)

    def statistic(self, answers: Sequence[Answer], videos: Videos) -> Statistic:
        """See `Metric`."""
        valued = [(video, value) for video, answer in zip(videos.index, answers, strict=True) if (value := self.value(answer)) is not None]
        shown = [(video, value) for video, value in valued if videos.present[video]]
        others = [(video, value) for video, value in valued if not videos.present[video]]
        if not shown or not others:
            return lambda weights: np.full(len(weights), np.nan)
        wins, pairs, rows, columns = _pairs_won(shown, others)

        def area(weights: np.ndarray) -> np.ndarray:
            left, right = weights[:, rows], weights[:, columns]
            won = np.einsum("bv,bv->b", left @ wins, right)
            return _divide(won, np.einsum("bv,bv->b", left @ pairs, right))

        return area


def _pairs_won(
    shown: Sequence[tuple[int, float]], others: Sequence[tuple[int, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each pair of videos, one with and one without the subject: float[P, N] the pairs of answers won, and all pairs; their videos."""
    rows, row_of = np.unique([video for video, _ in shown], return_inverse=True)
    columns, column_of = np.unique([video for video, _ in others], return_inverse=True)
    high, low = np.array([value for _, value in shown]), np.array([value for _, value in others])
    wins = np.zeros((len(rows), len(columns)))
    for start in range(0, len(high), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        won = (high[part, None] > low) + 0.5 * (high[part, None] == low)
        by_column = np.zeros((len(won), len(columns)))
        np.add.at(by_column.T, column_of, won.T)
        np.add.at(wins, row_of[part], by_column)
    pairs = np.outer(np.bincount(row_of), np.bincount(column_of)).astype(float)
    return wins, pairs, rows, columns


def share(sums: np.ndarray) -> np.ndarray:
    """The first of two sums [..., 2] over the second."""
    return _divide(sums[..., 0], sums[..., 1])


def mean_of_shares(sums: np.ndarray) -> np.ndarray:
    """The mean of two shares, whose sums [..., 4] are one after the other."""
    return (share(sums[..., :2]) + share(sums[..., 2:])) / 2


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def value_of(metric: Metric, answers: Sequence[Answer]) -> float | None:
    """The score of `answers`; None where it is undefined."""
    videos = videos_of(answers)
    value = float(metric.statistic(answers, videos)(np.ones((1, videos.num)))[0])
    return None if np.isnan(value) else value
