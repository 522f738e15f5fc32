"""What an evaluation found: as JSON with every answer, as a table in the terminal, and in plain words.

The page with pictures is in html_report.py.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.calibration import Calibration, calibrate
from pvchat_jax.evaluation.metrics.verdicts import is_right, said
from pvchat_jax.evaluation.scores import ExistenceScores, Scores
from pvchat_jax.files import write_atomically

THIS_MODEL = "this model"
_FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model, asked about one set of records.

    Attributes:
      run: output directory of the training run. records: file of the questions.
      model: name of the model's preset. step: optimiser steps that were taken.
      systems: scores of other systems on the same records by name, such as `base` or `question_only`, shown beside this model's.
      threshold: calibrated log-odds, in nats, above which "present" should be said; None if none was calibrated.
      activity: heads that were on; None if that was not measured.
    """

    run: str
    records: str
    subject: str
    model: str
    stage: int
    step: int
    scores: Scores
    answers: Sequence[Answer]
    set_aside: Sequence[SetAside]
    systems: Mapping[str, Scores] = dataclasses.field(default_factory=dict)
    threshold: float | None = None
    activity: HeadActivity | None = None


def write_json(path: Path, evaluation: Evaluation) -> None:
    """Writes scores, every answer with its verdict, calibration, heads' activity, and the videos set aside.

    An interrupted write leaves the old file.
    """
    values = {"format": _FORMAT} | {name: getattr(evaluation, name) for name in ("run", "records", "subject", "model", "stage", "step")}
    values["verdict"] = list(verdict(evaluation.scores))
    values["scores"] = dataclasses.asdict(evaluation.scores)
    values["systems"] = {name: dataclasses.asdict(scores) for name, scores in evaluation.systems.items()}
    values["threshold"] = evaluation.threshold
    values["calibration"] = _calibration_to_json(calibrate(evaluation.answers))
    values["head_activity"] = None if evaluation.activity is None else dataclasses.asdict(evaluation.activity)
    values["set_aside"] = [item._asdict() for item in evaluation.set_aside]
    values["answers"] = [_answer_to_json(answer) for answer in evaluation.answers]
    write_atomically(Path(path), json.dumps(values, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def _calibration_to_json(calibration: Calibration | None) -> dict[str, object] | None:
    if calibration is None:
        return None
    return {"expected_error": calibration.expected_error, "bins": [item._asdict() for item in calibration.bins]}


def _answer_to_json(answer: Answer) -> dict[str, object]:
    verdict = said(answer) if answer.type == "existence" else None
    return dataclasses.asdict(answer) | {"said": verdict, "right": is_right(answer)}


def verdict(scores: Scores) -> tuple[str, ...]:
    """Sentences that say whether the model beats the answers that need no video, and by how much."""
    return (*_existence_verdict(scores), *_content_verdict(scores))


def _existence_verdict(scores: Scores) -> tuple[str, ...]:
    model, yes, no = scores.existence, scores.baselines["always-yes"], scores.baselines["always-no"]
    if model.num_questions == 0:
        return ("No existence question was answered, so nothing can be said about recognising the subject.",)
    plain = (
        f"In plain accuracy ({_percent(model.accuracy)}) it is "
        f"{_margin(model.accuracy, yes.accuracy)} always-yes ({_percent(yes.accuracy)}) "
        f"and {_margin(model.accuracy, no.accuracy)} always-no ({_percent(no.accuracy)})."
    )
    if model.balanced_accuracy is None or model.interval is None:
        only = "show" if yes.accuracy == 1 else "lack"
        return (f"All scored videos {only} the subject, so this says nothing about telling present from absent.", plain)
    ends = f"95% interval {100 * model.interval.low:.1f} to {_percent(model.interval.high)}"
    figures = f"balanced accuracy is {_percent(model.balanced_accuracy)} ({ends}) against {_percent(yes.balanced_accuracy)} for each"
    margin = _margin(model.balanced_accuracy, yes.balanced_accuracy)
    if model.balanced_accuracy <= yes.balanced_accuracy:
        lead = f"It does not beat always-yes and always-no: {figures}, {margin} them."
    elif model.interval.low <= yes.balanced_accuracy:
        lead = f"It is not shown to beat always-yes and always-no: {figures}, {margin} them, and the interval reaches down to chance."
    else:
        lead = f"It beats always-yes and always-no: {figures}, {margin} them."
    return (lead, plain)


def _content_verdict(scores: Scores) -> tuple[str, ...]:
    parts = [
        f"{kind} {_percent(score.accuracy)}, {_margin(score.accuracy, score.most_common_accuracy)} "
        f"the most common answer ({_percent(score.most_common_accuracy)})"
        for kind, score in scores.content.items()
    ]
    return (f"Where the subject is shown, right answers by type: {'; '.join(parts)}.",) if parts else ()


def _margin(value: float, baseline: float) -> str:
    points = round(100 * value, 1) - round(100 * baseline, 1)
    return "level with" if abs(points) < 0.05 else f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


EXISTENCE_COLUMNS = ("system", "accuracy", "balanced\naccuracy", "95%\ninterval", "false\naccept.", "false\nreject.", "AUC", "unknown")
GROUP_COLUMNS = ("existence by group", "videos", "questions", "accuracy", "unknown", "AUC against\npresent")
CONFUSION_COLUMNS = ("in the video", "videos", "said\npresent", "said\nabsent", "unknown", "accuracy", "AUC against\npresent")
CONTENT_COLUMNS = ("content", "questions", "accuracy", "most common\nanswer", "exact", "refused,\npresent", "refused,\nabsent")


def existence_title(subject: str) -> str:
    return f"Is {subject} in the video? (in percent, except AUC)"


def content_title(subject: str) -> str:
    return f"What about {subject}? (in percent)"


def compared_existence(evaluation: Evaluation) -> dict[str, ExistenceScores]:
    """Existence scores by name: the model, then the other systems, then the baselines."""
    systems = {name: scores.existence for name, scores in evaluation.systems.items()}
    constant = {name: dataclasses.replace(score, interval=None) for name, score in evaluation.scores.baselines.items()}  # they do not vary
    return {THIS_MODEL: evaluation.scores.existence, **systems, **constant}


def existence_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Cells of the table of existence scores in the order of `compared_existence`; `EXISTENCE_COLUMNS` names them."""
    return [_existence_row(name, score) for name, score in compared_existence(evaluation).items()]


def _existence_row(name: str, score: ExistenceScores) -> tuple[str, ...]:
    ends = "-" if score.interval is None else f"{100 * score.interval.low:.1f}-{100 * score.interval.high:.1f}"
    shares = tuple(map(_cell, (score.accuracy, score.balanced_accuracy, score.far, score.frr, score.unknown_rate)))
    return (name, *shares[:2], ends, *shares[2:4], _auc(score.auc), shares[4])


def group_rows(scores: Scores) -> list[tuple[str, ...]]:
    """Cells of the table of roles and, where there are several, origins; `GROUP_COLUMNS` names them."""
    groups = scores.by_role | (scores.by_origin if len(scores.by_origin) > 1 else {})
    return [
        (
            name.replace("_", " "),
            str(score.num_videos),
            str(score.num_questions),
            _cell(score.accuracy),
            _cell(score.unknown_rate),
            _auc(score.auc),
        )
        for name, score in groups.items()
    ]


def confusion_rows(scores: Scores) -> list[tuple[str, ...]]:
    """Cells of the table of existence answers by who is in the video; `CONFUSION_COLUMNS` names them."""
    return [
        (name, *map(str, (row.num_videos, row.said_present, row.said_absent, row.unknown)), _cell(row.accuracy), _auc(row.auc))
        for name, row in scores.confusion.items()
    ]


def compared_content_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Cells of a table of content accuracy: one row per system, one column per type of question in `evaluation.scores.content`."""
    compared = {THIS_MODEL: evaluation.scores} | dict(evaluation.systems)
    kinds = evaluation.scores.content
    rows = [
        (name, *(_cell(scores.content[kind].accuracy if kind in scores.content else None) for kind in kinds))
        for name, scores in compared.items()
    ]
    return [*rows, ("most common answer", *(_cell(score.most_common_accuracy) for score in kinds.values()))]


def content_rows(scores: Scores) -> list[tuple[str, ...]]:
    """Cells of the table of content questions; `CONTENT_COLUMNS` names them."""
    rows = []
    for kind in dict.fromkeys([*scores.content, *scores.absent_refusal_rate]):
        score = scores.content.get(kind)
        shown = ("0", "-", "-", "-", "-")
        if score:
            shares = (score.accuracy, score.most_common_accuracy, score.exact, score.refusal_rate)
            shown = (str(score.num_questions), *map(_cell, shares))
        rows.append((kind, *shown, _cell(scores.absent_refusal_rate.get(kind))))
    return rows


def _cell(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _auc(area: float | None) -> str:
    return "-" if area is None else f"{area:.3f}"


def print_summary(evaluation: Evaluation, console: Console) -> None:
    """The tables, the verdict and the videos that were set aside."""
    scores = evaluation.scores
    if scores.existence.num_questions:
        _print_table(console, existence_title(evaluation.subject), EXISTENCE_COLUMNS, existence_rows(evaluation))
        _print_table(console, "", GROUP_COLUMNS, group_rows(scores))
    if rows := content_rows(scores):
        _print_table(console, content_title(evaluation.subject), CONTENT_COLUMNS, rows)
    for sentence in verdict(scores):
        console.print(Text(sentence))
    if evaluation.set_aside:
        console.print(Text(f"Not scored, because they could not be read ({len(evaluation.set_aside)}):"))
        for item in evaluation.set_aside:
            console.print(Text(f"  {item.reason}"))


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=Text(title, style="bold") if title else None, title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
