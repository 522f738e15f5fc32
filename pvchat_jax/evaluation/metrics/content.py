"""Scores of questions about content, by words: what the subject wears, does, and where it is.

They need no model. What is right where the subject is there is wrong where it is not, so the two are apart.
"""

from collections.abc import Sequence

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.answers import is_exact_match, is_refusal, slot_recall
from pvchat_jax.evaluation.metrics.metric import Metric, SumMetric, share
from pvchat_jax.evaluation.metrics.verdicts import is_right


def _shown(answer: Answer) -> bool:
    return answer.type != "existence" and answer.present


def _accuracy(answer: Answer) -> Sequence[float] | None:
    return (is_right(answer), 1.0) if _shown(answer) else None


def _exact(answer: Answer) -> Sequence[float] | None:
    return (is_exact_match(answer.answer, answer.gold), 1.0) if _shown(answer) else None


def _recall(answer: Answer) -> Sequence[float] | None:
    return (slot_recall(answer.answer, answer.gold, answer.subject), 1.0) if _shown(answer) else None


def _wrong_refusal(answer: Answer) -> Sequence[float] | None:
    return (is_refusal(answer.answer, answer.subject), 1.0) if _shown(answer) else None


def _right_refusal(answer: Answer) -> Sequence[float] | None:
    return (is_right(answer), 1.0) if answer.type != "existence" and not answer.present else None


CONTENT_ACCURACY = SumMetric(key="content_accuracy", title="content right", terms=_accuracy, finish=share)
CONTENT_EXACT = SumMetric(key="content_exact", title="content exact", terms=_exact, finish=share)
CONTENT_RECALL = SumMetric(key="content_recall", title="content words", terms=_recall, finish=share)
WRONG_REFUSALS = SumMetric(key="wrong_refusals", title="wrongly refused", terms=_wrong_refusal, finish=share, higher_is_better=False)
RIGHT_REFUSALS = SumMetric(key="right_refusals", title="rightly refused", terms=_right_refusal, finish=share)

CONTENT_METRICS: tuple[Metric, ...] = (CONTENT_ACCURACY, CONTENT_EXACT, CONTENT_RECALL, WRONG_REFUSALS, RIGHT_REFUSALS)
