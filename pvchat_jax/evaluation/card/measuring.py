"""Every score of every part of a system's answers, with its interval."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.card.slices import Slice, pick, slices_of
from pvchat_jax.evaluation.card.systems import System
from pvchat_jax.evaluation.metrics.bootstrap import Interval, draw_weights, interval_of
from pvchat_jax.evaluation.metrics.metric import Metric, videos_of


class Number(NamedTuple):
    """A score; None where it is undefined. `num_questions` is how many it is about."""

    value: float | None
    interval: Interval | None
    num_questions: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """The scores of one slice by the key of the metric."""

    numbers: Mapping[str, Number]
    num_questions: int
    num_videos: int
    num_subjects: int


def measure(metrics: Sequence[Metric], answers: Sequence[Answer], seed: int = 0) -> Measured:
    """Scores of `answers`, whose intervals come from the same resamples."""
    videos = videos_of(answers)
    once, weights = np.ones((1, videos.num)), draw_weights(videos, seed)
    numbers = {}
    for metric in metrics:
        statistic = metric.statistic(answers, videos)
        value = float(statistic(once)[0])
        is_known = not np.isnan(value)
        interval = interval_of(statistic(weights)) if is_known else None
        numbers[metric.key] = Number(value if is_known else None, interval, metric.count(answers))
    return Measured(
        numbers=numbers,
        num_questions=len(answers),
        num_videos=len({answer.video for answer in answers}),
        num_subjects=videos.num_subjects,
    )


def measure_system(metrics: Sequence[Metric], system: System, seed: int = 0) -> dict[Slice, Measured]:
    """Scores of all slices of a system; of what models are held against, of everything alone."""
    parts = slices_of(system.answers) if system.kind == "model" else slices_of(system.answers)[:1]
    return {part: measure(metrics, pick(system.answers, part), seed) for part in parts}
