"""A page about an evaluation that needs nothing but itself: style, pictures and curves are inside.

Every text from data, model or paths is escaped, and the page's own policy forbids scripts and requests.
"""

import importlib.resources
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

from pvchat_jax.evaluation.calibration_section import calibration_section
from pvchat_jax.evaluation.curves import StageCurves
from pvchat_jax.evaluation.gallery import gallery_section
from pvchat_jax.evaluation.heads_section import heads_section
from pvchat_jax.evaluation.interval_chart import draw_intervals
from pvchat_jax.evaluation.markup import Section, figure, note, table, text
from pvchat_jax.evaluation.report import (
    CONFUSION_COLUMNS,
    CONTENT_COLUMNS,
    EXISTENCE_COLUMNS,
    GROUP_COLUMNS,
    Evaluation,
    compared_content_rows,
    compared_existence,
    confusion_rows,
    content_rows,
    existence_rows,
    group_rows,
    verdict,
)
from pvchat_jax.evaluation.training_section import training_sections
from pvchat_jax.files import write_atomically

_EXISTENCE_NOTE = (
    "An answer that says neither yes nor no is unknown and counts as wrong. Balanced accuracy is the mean of the shares of right answers "
    "on videos with and without the subject; its interval is a bootstrap over videos. False acceptance is saying present of an absent "
    "subject, false rejection the reverse. AUC ranks by the log-odds of Yes against No."
)
_CONFUSION_NOTE = (
    "Numbers of answers. The grade of a look-alike is the number of attributes in which it differs from the subject, so grade 1 is the "
    "hardest. AUC is the chance that the model gives a video with the subject higher log-odds of Yes than one of this row."
)
_CONTENT_NOTE = (
    "A content answer is right when it has all content words of the expected answer. The most common answer is what one would score by "
    "always repeating the most frequent expected answer. Refusing is wrong where the subject is present and right where it is absent."
)


def write_html(path: Path, evaluation: Evaluation, stages: Sequence[StageCurves]) -> None:
    """Writes the page.

    Args:
      path: of the `.html` file; an interrupted write leaves the old file.
      evaluation: what is shown. Frames are read again from the videos of the examples.
      stages: training curves of the run and of those that it started from, the earliest first.
    """
    facts = (
        f"Model {evaluation.model}, stage {evaluation.stage}, step {evaluation.step} of {evaluation.run}. "
        f"{len(evaluation.answers)} questions about {len({answer.video for answer in evaluation.answers})} videos of {evaluation.records}."
    )
    sections = [item for item in _sections(evaluation, stages) if item is not None]
    title = f"How well the model knows {evaluation.subject}"
    write_page(path, title, facts, sections, verdict=verdict(evaluation.scores), tiles="".join(_tiles(evaluation)))


def write_page(path: Path, title: str, facts: str, sections: Sequence[Section], *, verdict: Sequence[str] = (), tiles: str = "") -> None:
    """Writes one self-contained page.

    Args:
      path: of the `.html` file; an interrupted write leaves the old file.
      facts: a line below the title. verdict: sentences below that. tiles: markup of the numbers on top.
    """
    template = importlib.resources.files("pvchat_jax.evaluation").joinpath("templates", "report.html").read_text(encoding="utf-8")
    page = string.Template(template).substitute(
        title=text(title),
        facts=text(facts),
        verdict="".join(f"<p>{text(sentence)}</p>" for sentence in verdict),
        tiles=tiles,
        links="".join(item.link() for item in sections),
        body="\n".join(item.markup() for item in sections),
    )
    write_atomically(Path(path), page)


def _sections(evaluation: Evaluation, stages: Sequence[StageCurves]) -> Iterator[Section | None]:
    yield from _existence_sections(evaluation)
    yield calibration_section(evaluation.answers, evaluation.threshold)
    yield from _content_section(evaluation)
    yield gallery_section(evaluation.answers)
    yield from training_sections(stages)
    if evaluation.activity is not None:
        yield heads_section(evaluation.activity, evaluation.subject)
    if evaluation.set_aside:
        items = "".join(f"<li>{text(item.reason)}</li>" for item in evaluation.set_aside)
        reason = f"<p>Not scored, because they could not be read ({len(evaluation.set_aside)}):</p>"
        yield Section("left_out", "Videos left out", f"{reason}<ul>{items}</ul>")


def _tiles(evaluation: Evaluation) -> Iterator[str]:
    """The few numbers that a hurried reader takes away."""
    scores, existence = evaluation.scores, evaluation.scores.existence
    if existence.balanced_accuracy is not None and existence.interval is not None:
        ends = f"{100 * existence.interval.low:.0f} to {100 * existence.interval.high:.0f}"
        yield tile(f"{100 * existence.balanced_accuracy:.1f}%", "balanced accuracy", f"95% interval {ends}; guessing has 50")
    if "hard_negative" in scores.by_role:
        yield tile(
            f"{100 * scores.by_role['hard_negative'].accuracy:.1f}%", "look-alikes told from the subject", "saying always no has 100"
        )
    if existence.auc is not None:
        yield tile(f"{existence.auc:.3f}", "AUC of yes against no", "guessing has 0.5")
    if count := sum(score.num_questions for score in scores.content.values()):
        right = sum(score.num_questions * score.accuracy for score in scores.content.values()) / count
        common = sum(score.num_questions * score.most_common_accuracy for score in scores.content.values()) / count
        yield tile(f"{100 * right:.1f}%", "content questions right", f"the most common answer has {100 * common:.1f}")


def tile(value: str, name: str, context: str) -> str:
    return f'<p class="tile"><b>{text(value)}</b>{text(name)}<span>{text(context)}</span></p>'


def _existence_sections(evaluation: Evaluation) -> Iterator[Section]:
    scores = evaluation.scores
    if not scores.existence.num_questions:
        return
    scored = table("Existence questions (in percent, except AUC)", EXISTENCE_COLUMNS, existence_rows(evaluation), emphasised=1)
    bars = [
        (name, score.balanced_accuracy, score.interval)
        for name, score in compared_existence(evaluation).items()
        if score.balanced_accuracy is not None
    ]
    chart = figure("Balanced accuracy, with 95% interval", draw_intervals(bars)) if bars else ""
    legend = note(_EXISTENCE_NOTE)
    below = f'<div class="pair">{chart}<div>{legend}</div></div>' if chart else legend
    yield Section("scores", f"Is {evaluation.subject} in the video?", scored + below)
    by_person = table("Existence answers by who is in the video", CONFUSION_COLUMNS, confusion_rows(scores))
    origins = ""
    if len(scores.by_origin) > 1:
        origins = table("Existence answers by group (in percent, except AUC)", GROUP_COLUMNS, group_rows(scores))
    yield Section("grades", "Who is taken for whom", by_person + note(_CONFUSION_NOTE) + origins)


def _content_section(evaluation: Evaluation) -> Iterator[Section]:
    rows = content_rows(evaluation.scores)
    if not rows:
        return
    parts = [table("Content questions (in percent)", CONTENT_COLUMNS, rows)]
    if evaluation.systems and evaluation.scores.content:
        columns = ("system", *evaluation.scores.content)
        parts.append(table("Right content answers by system (in percent)", columns, compared_content_rows(evaluation), emphasised=1))
    yield Section("content", f"What about {evaluation.subject}?", "".join(parts) + note(_CONTENT_NOTE))
