"""Scores of generated answers, always beside the baselines that need no video.

Everything here is a pure function of `Answer`s. Definitions follow the field's table of figures where it
has them: an existence answer that cannot be parsed is `unknown` and counts as wrong.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.presence import Presence, parse_presence
from pvchat_jax.data.records import ORIGINS, ROLES
from pvchat_jax.evaluation.answers import is_exact_match, is_refusal, is_slot_match

BASELINES = ("always-yes", "always-no", "majority")
_NUM_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about one video with its gold and its generated answer.

    Attributes:
      video: path of the video file.
      role, origin: of the video's record (data/records.py).
      type: one of `config.schema.QUESTION_TYPES`.
      log_odds: log p("Yes") - log p("No") of the first answer token, in nats; existence questions only.
      grade: in how many attributes a look-alike differs from the subject, where the record's truth says so.
    """

    video: str
    subject: str
    role: str
    origin: str
    question: str
    type: str
    gold: str
    answer: str
    log_odds: float | None = None
    grade: int | None = None

    @property
    def present(self) -> bool:
        return self.role == "positive"


class SetAside(NamedTuple):
    """A video that could not be read, and why."""

    video: str
    reason: str


class Interval(NamedTuple):
    """Lower and upper end of a 95 % interval."""

    low: float
    high: float


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
      baselines: by name of `BASELINES`; `majority` says what most of the scored videos' labels are.
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
    predictions = [parse_presence(answer.answer, answer.subject) for answer in existence]
    log_odds = [answer.log_odds for answer in existence]
    content = {kind: [answer for answer in answers if answer.type == kind] for kind in QUESTION_TYPES if kind != "existence"}
    return Scores(
        existence=score_existence(existence, predictions, log_odds),
        baselines={name: _score_constant(existence, name) for name in BASELINES},
        by_role=_score_groups(existence, predictions, ROLES, lambda answer: answer.role),
        by_origin=_score_groups(existence, predictions, ORIGINS, lambda answer: answer.origin),
        confusion=_score_confusion(existence, predictions),
        content={
            kind: _score_content(shown) for kind, group in content.items() if (shown := [answer for answer in group if answer.present])
        },
        absent_refusal_rate={
            kind: _mean([is_refusal(answer.answer, answer.subject) for answer in absent])
            for kind, group in content.items()
            if (absent := [answer for answer in group if not answer.present])
        },
    )


def score_existence(answers: Sequence[Answer], predictions: Sequence[Presence], log_odds: Sequence[float | None]) -> ExistenceScores:
    """Scores of `predictions` and `log_odds`, one each per existence answer, against the roles of `answers`."""
    on_present = [prediction for answer, prediction in zip(answers, predictions, strict=True) if answer.present]
    on_absent = [prediction for answer, prediction in zip(answers, predictions, strict=True) if not answer.present]
    right = [_is_right(answer, prediction) for answer, prediction in zip(answers, predictions, strict=True)]
    balanced = None
    if on_present and on_absent:
        balanced = (_mean([p == "present" for p in on_present]) + _mean([p == "absent" for p in on_absent])) / 2
    return ExistenceScores(
        num_videos=len({answer.video for answer in answers}),
        num_questions=len(answers),
        accuracy=_mean(right),
        balanced_accuracy=balanced,
        interval=None if balanced is None else bootstrap_balanced_accuracy(answers, right),
        far=_mean([prediction == "present" for prediction in on_absent]),
        frr=_mean([prediction == "absent" for prediction in on_present]),
        auc=_roc_of(answers, log_odds),
        unknown_rate=_mean([prediction == "unknown" for prediction in predictions]),
    )


def roc_auc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Chance that a random positive scores above a random negative, ties counting half; None if either is empty."""
    if not len(positives) or not len(negatives):
        return None
    ordered = np.sort(np.asarray(negatives, float))
    below = np.searchsorted(ordered, positives, side="left")
    not_above = np.searchsorted(ordered, positives, side="right")
    return float(np.mean(below + not_above) / 2 / len(ordered))


def bootstrap_balanced_accuracy(answers: Sequence[Answer], right: Sequence[bool], seed: int = 0) -> Interval:
    """95 % percentile interval of the balanced accuracy.

    Whole videos are drawn with replacement, because answers about one video are not independent; present
    and absent videos are drawn apart, so every resample has both.
    """
    rng = np.random.default_rng(seed)
    rates = []
    for present in (True, False):
        counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
        for answer, is_right in zip(answers, right, strict=True):
            if answer.present == present:
                counts[answer.video][0] += is_right
                counts[answer.video][1] += 1
        per_video = np.array(list(counts.values()))  # [V, 2]
        drawn = rng.integers(len(per_video), size=(_NUM_RESAMPLES, len(per_video)))
        totals = per_video[drawn].sum(axis=1)  # [resamples, 2]
        rates.append(totals[:, 0] / totals[:, 1])
    low, high = np.percentile((rates[0] + rates[1]) / 2, [2.5, 97.5])
    return Interval(float(low), float(high))


def _score_constant(answers: Sequence[Answer], baseline: str) -> ExistenceScores:
    """What `baseline` would score: one verdict for everything, hence no ranking either."""
    if baseline == "majority":
        shown = sum(answer.present for answer in answers)
        baseline = "always-yes" if 2 * shown > len(answers) else "always-no"
    verdict: Presence = "present" if baseline == "always-yes" else "absent"
    return score_existence(answers, [verdict] * len(answers), [0.0] * len(answers))


def _score_groups(
    answers: Sequence[Answer], predictions: Sequence[Presence], names: Sequence[str], group_of: Callable[[Answer], str]
) -> dict[str, GroupScores]:
    shown = [answer for answer in answers if answer.present]
    groups = {}
    for name in names:
        members = [(answer, prediction) for answer, prediction in zip(answers, predictions, strict=True) if group_of(answer) == name]
        if not members:
            continue
        own = [answer for answer, _ in members]
        against = [*own, *shown] if not any(answer.present for answer in own) else own
        groups[name] = GroupScores(
            num_videos=len({answer.video for answer in own}),
            num_questions=len(own),
            accuracy=_mean([_is_right(answer, prediction) for answer, prediction in members]),
            unknown_rate=_mean([prediction == "unknown" for _, prediction in members]),
            auc=_roc_of(against, [answer.log_odds for answer in against]),
        )
    return groups


def describe_person(answer: Answer) -> str:
    """Who is in the answer's video: `present`, `stranger`, or `look-alike` with its grade where that is known."""
    if answer.role != "hard_negative":
        return "present" if answer.present else "stranger"
    return "look-alike" if answer.grade is None else f"look-alike, grade {answer.grade}"


def _score_confusion(answers: Sequence[Answer], predictions: Sequence[Presence]) -> dict[str, Confusion]:
    shown = [answer for answer in answers if answer.present]
    order = {"positive": 0, "easy_negative": 1, "hard_negative": 2}
    kinds = dict.fromkeys(map(describe_person, sorted(answers, key=lambda answer: (order[answer.role], answer.grade or 0))))
    confusion = {}
    for kind in kinds:
        members = [(answer, said) for answer, said in zip(answers, predictions, strict=True) if describe_person(answer) == kind]
        own = [answer for answer, _ in members]
        against = own if own[0].present else [*own, *shown]
        said = collections.Counter(said for _, said in members)
        confusion[kind] = Confusion(
            num_videos=len({answer.video for answer in own}),
            said_present=said["present"],
            said_absent=said["absent"],
            unknown=said["unknown"],
            accuracy=_mean([_is_right(answer, prediction) for answer, prediction in members]),
            auc=_roc_of(against, [answer.log_odds for answer in against]),
        )
    return confusion


def _score_content(answers: Sequence[Answer]) -> ContentScores:
    most_common, _ = collections.Counter(answer.gold for answer in answers).most_common(1)[0]
    return ContentScores(
        num_questions=len(answers),
        accuracy=_mean([is_slot_match(answer.answer, answer.gold, answer.subject) for answer in answers]),
        exact=_mean([is_exact_match(answer.answer, answer.gold) for answer in answers]),
        refusal_rate=_mean([is_refusal(answer.answer, answer.subject) for answer in answers]),
        most_common_accuracy=_mean([is_slot_match(most_common, answer.gold, answer.subject) for answer in answers]),
        most_common_exact=_mean([is_exact_match(most_common, answer.gold) for answer in answers]),
    )


def is_right(answer: Answer) -> bool:
    """Whether one answer counts as right: the verdict on existence, the content words where the subject is shown, a refusal where not."""
    if answer.type == "existence":
        return _is_right(answer, parse_presence(answer.answer, answer.subject))
    if answer.present:
        return is_slot_match(answer.answer, answer.gold, answer.subject)
    return is_refusal(answer.answer, answer.subject)


def _is_right(answer: Answer, prediction: Presence) -> bool:
    return prediction == ("present" if answer.present else "absent")


def _roc_of(answers: Sequence[Answer], log_odds: Sequence[float | None]) -> float | None:
    known = [(answer.present, value) for answer, value in zip(answers, log_odds, strict=True) if value is not None]
    return roc_auc([value for present, value in known if present], [value for present, value in known if not present])


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
