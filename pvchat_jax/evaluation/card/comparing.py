"""Two systems on the questions that both were asked."""

import dataclasses
from collections.abc import Mapping, Sequence

from pvchat_jax.evaluation.card.systems import System, matched
from pvchat_jax.evaluation.metrics.bootstrap import Difference, paired_bootstrap
from pvchat_jax.evaluation.metrics.mcnemar import McNemar, mcnemar
from pvchat_jax.evaluation.metrics.metric import Metric
from pvchat_jax.evaluation.metrics.verdicts import is_right

LEVEL = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much `second` scores above `first`.

    Attributes:
      num_matched: questions that both were asked; num_unmatched: those of either that the other was not.
      differences: by the key of the metric; None where it is undefined.
      existence: the exact test on yes/no questions, or None without any.
    """

    first: str
    second: str
    num_matched: int
    num_unmatched: int
    differences: Mapping[str, Difference | None]
    existence: McNemar | None


def compare(metrics: Sequence[Metric], first: System, second: System, seed: int = 0) -> Comparison:
    """Compares on the questions that both systems were asked."""
    one, two = matched(first, second)
    asked = [(a, b) for a, b in zip(one, two, strict=True) if a.type == "existence"]
    return Comparison(
        first=first.short or first.name,
        second=second.short or second.name,
        num_matched=len(one),
        num_unmatched=len(first.answers) + len(second.answers) - 2 * len(one),
        differences={metric.key: paired_bootstrap(metric, one, two, seed) for metric in metrics},
        existence=mcnemar([is_right(a) for a, _ in asked], [is_right(b) for _, b in asked]) if asked else None,
    )
