"""Whether two runs are right about different questions more often than chance has it."""

from collections.abc import Sequence
from typing import NamedTuple

import scipy.stats


class McNemar(NamedTuple):
    """The exact test (McNemar, 1947), which is a sign test on the questions that one run alone gets right.

    It takes questions as independent, which several questions about one video are not: read it beside the paired bootstrap.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """The test on which of the same questions two runs got right."""
    only_first = sum(one and not other for one, other in zip(first, second, strict=True))
    only_second = sum(other and not one for one, other in zip(first, second, strict=True))
    discordant = only_first + only_second
    p_value = float(scipy.stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)
