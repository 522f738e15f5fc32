"""Scores of existence questions: is the subject in the video?

An answer that says neither is `unknown` and counts as wrong, as in the field.
"""

from collections.abc import Sequence

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.calibration import bin_terms, expected_error
from pvchat_jax.evaluation.metrics.metric import Metric, RankMetric, SumMetric, mean_of_shares, share
from pvchat_jax.evaluation.metrics.verdicts import is_right, said


def _accuracy(answer: Answer) -> Sequence[float] | None:
    return (is_right(answer), 1.0) if answer.type == "existence" else None


def _balanced_accuracy(answer: Answer) -> Sequence[float] | None:
    if answer.type != "existence":
        return None
    right = is_right(answer)
    return (right, 1.0, 0.0, 0.0) if answer.present else (0.0, 0.0, right, 1.0)


def _false_acceptance(answer: Answer) -> Sequence[float] | None:
    return None if answer.type != "existence" or answer.present else (said(answer) == "present", 1.0)


def _false_rejection(answer: Answer) -> Sequence[float] | None:
    return None if answer.type != "existence" or not answer.present else (said(answer) == "absent", 1.0)


def _unknown(answer: Answer) -> Sequence[float] | None:
    return (said(answer) == "unknown", 1.0) if answer.type == "existence" else None


def _log_odds(answer: Answer) -> float | None:
    return answer.log_odds if answer.type == "existence" else None


def _calibration(answer: Answer) -> Sequence[float] | None:
    return bin_terms(answer) if answer.type == "existence" else None


ACCURACY = SumMetric(key="accuracy", title="accuracy", terms=_accuracy, finish=share)
BALANCED_ACCURACY = SumMetric(key="balanced_accuracy", title="balanced accuracy", terms=_balanced_accuracy, finish=mean_of_shares)
FAR = SumMetric(key="false_acceptance", title="false acceptance", terms=_false_acceptance, finish=share, higher_is_better=False)
FRR = SumMetric(key="false_rejection", title="false rejection", terms=_false_rejection, finish=share, higher_is_better=False)
UNKNOWN_RATE = SumMetric(key="unknown_rate", title="unknown", terms=_unknown, finish=share, higher_is_better=False)
AUC = RankMetric(key="auc", title="AUC", value=_log_odds)
CALIBRATION_ERROR = SumMetric(
    key="calibration_error", title="calibration error", terms=_calibration, finish=expected_error, higher_is_better=False
)

EXISTENCE_METRICS: tuple[Metric, ...] = (ACCURACY, BALANCED_ACCURACY, FAR, FRR, AUC, CALIBRATION_ERROR, UNKNOWN_RATE)
