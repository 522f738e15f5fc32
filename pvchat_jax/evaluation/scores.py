"""Scores of one run's answers, always beside the baselines that need no video.

Everything here is a pure function of `Answer`s; what each number means is defined in metrics/.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence

from pvchat_jax.config.evaluation_schema import CONSTANTS, MAJORITY
from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import ORIGINS, ROLES
from pvchat_jax.evaluation.answer_record import Answer, describe_person
from pvchat_jax.evaluation.constants import constant_answers
from pvchat_jax.evaluation.metrics.bootstrap import Interval, bootstrap
from pvchat_jax.evaluation.metrics.content import CONTENT_ACCURACY, CONTENT_EXACT, RIGHT_REFUSALS, WRONG_REFUSALS
from pvchat_jax.evaluation.metrics.existence import ACCURACY, AUC, BALANCED_ACCURACY, FAR, FRR, UNKNOWN_RATE
from pvchat_jax.evaluation.metrics.metric import value_of
from pvchat_jax.evaluation.metrics.verdicts import said


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExistenceScores:
    """Scores of yes/no answers; None where a score is undefined because one class is missing.

    Attributes:
      balanced_accuracy: mean of the shares of right answers on present and on absent videos.
      interval: 95 % bootstrap over videos of the balanced accuracy.
      far: false acceptance rate, the share of "present" among answers on absent videos.
      frr: false rejection rate, the share of "absent" among answers on present videos.
      auc: area under the ROC curve of the yes/no log-odds.
      unknown_rate: share of answers that say neither.
    """

    num_videos: int
    num_questions: int
    accuracy: float | None
    balanced_accuracy: float | None
    interval: Interval | None
    far: float | None
    frr: float | None
    auc: float | None
    unknown_rate: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupScores:
    """Existence answers on the videos of one role or origin; `auc` sets a negative role against all present videos."""

    num_videos: int
    num_questions: int
    accuracy: float
    unknown_rate: float
    auc: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """What the existence answers about one kind of video say: numbers of answers; `auc` sets absent kinds against all present videos."""

    num_videos: int
    said_present: int
    said_absent: int
    unknown: int
    accuracy: float
    auc: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContentScores:
    """Answers to one type of content question about videos that show the subject.

    Attributes:
      accuracy: share of answers with all content words of the gold answer and no refusal.
      exact: share of answers equal to the gold answer after normalisation.
      refusal_rate: share of answers that wrongly refuse.
      most_common_accuracy, most_common_exact: scores of always giving the most frequent gold answer of this type.
    """

    num_questions: int
    accuracy: float
    exact: float
    refusal_rate: float
    most_common_accuracy: float
    most_common_exact: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """All scores of a run.

    Attributes:
      baselines: by name of `CONSTANTS`, with a dash (`always-yes`); `majority` says what is true of most existence questions.
      by_role, by_origin: existence answers, for the roles and origins that occur.
      confusion: existence answers, for `present`, `stranger` and the grades of look-alikes that occur (`look-alike, grade 1`).
      content: by question type, videos that show the subject.
      absent_refusal_rate: by question type, the share of refusals on videos without the subject, where refusing is right.
    """

    existence: ExistenceScores
    baselines: dict[str, ExistenceScores]
    by_role: dict[str, GroupScores]
    by_origin: dict[str, GroupScores]
    confusion: dict[str, Confusion]
    content: dict[str, ContentScores]
    absent_refusal_rate: dict[str, float]


def score_answers(answers: Sequence[Answer]) -> Scores:
    """Scores of `answers`, which may be empty."""
    existence = [answer for answer in answers if answer.type == "existence"]
    content = {kind: [answer for answer in answers if answer.type == kind] for kind in QUESTION_TYPES if kind != "existence"}
    return Scores(
        existence=score_existence(existence),
        baselines={name.replace("_", "-"): score_existence(constant_answers(existence, name)) for name in CONSTANTS},
        by_role=_score_groups(existence, ROLES, lambda answer: answer.role),
        by_origin=_score_groups(existence, ORIGINS, lambda answer: answer.origin),
        confusion=_score_confusion(existence),
        content={kind: _score_content(group) for kind, group in content.items() if any(answer.present for answer in group)},
        absent_refusal_rate={kind: rate for kind, group in content.items() if (rate := value_of(RIGHT_REFUSALS, group)) is not None},
    )


def score_existence(answers: Sequence[Answer]) -> ExistenceScores:
    """Scores of existence answers."""
    return ExistenceScores(
        num_videos=len({answer.video for answer in answers}),
        num_questions=len(answers),
        accuracy=value_of(ACCURACY, answers),
        balanced_accuracy=value_of(BALANCED_ACCURACY, answers),
        interval=bootstrap(BALANCED_ACCURACY, answers),
        far=value_of(FAR, answers),
        frr=value_of(FRR, answers),
        auc=value_of(AUC, answers),
        unknown_rate=value_of(UNKNOWN_RATE, answers),
    )


def _score_groups(answers: Sequence[Answer], names: Sequence[str], group_of: Callable[[Answer], str]) -> dict[str, GroupScores]:
    groups = {}
    for name in names:
        own = [answer for answer in answers if group_of(answer) == name]
        if own:
            groups[name] = GroupScores(
                num_videos=len({answer.video for answer in own}),
                num_questions=len(own),
                accuracy=value_of(ACCURACY, own),
                unknown_rate=value_of(UNKNOWN_RATE, own),
                auc=_auc_against_present(own, answers),
            )
    return groups


def _score_confusion(answers: Sequence[Answer]) -> dict[str, Confusion]:
    order = {"positive": 0, "easy_negative": 1, "hard_negative": 2}
    kinds = dict.fromkeys(map(describe_person, sorted(answers, key=lambda answer: (order[answer.role], answer.grade or 0))))
    confusion = {}
    for kind in kinds:
        own = [answer for answer in answers if describe_person(answer) == kind]
        verdicts = collections.Counter(map(said, own))
        confusion[kind] = Confusion(
            num_videos=len({answer.video for answer in own}),
            said_present=verdicts["present"],
            said_absent=verdicts["absent"],
            unknown=verdicts["unknown"],
            accuracy=value_of(ACCURACY, own),
            auc=_auc_against_present(own, answers),
        )
    return confusion


def _auc_against_present(own: Sequence[Answer], answers: Sequence[Answer]) -> float | None:
    """AUC of a group; one that shows the subject nowhere is set against all that do."""
    if any(answer.present for answer in own):
        return value_of(AUC, own)
    return value_of(AUC, [*own, *(answer for answer in answers if answer.present)])


def _score_content(group: Sequence[Answer]) -> ContentScores:
    shown = [answer for answer in group if answer.present]
    common = constant_answers(shown, MAJORITY)
    return ContentScores(
        num_questions=len(shown),
        accuracy=value_of(CONTENT_ACCURACY, shown),
        exact=value_of(CONTENT_EXACT, shown),
        refusal_rate=value_of(WRONG_REFUSALS, shown),
        most_common_accuracy=value_of(CONTENT_ACCURACY, common),
        most_common_exact=value_of(CONTENT_EXACT, common),
    )
