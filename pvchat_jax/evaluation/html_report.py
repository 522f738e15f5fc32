"""A page about an evaluation that needs nothing but itself: style, pictures and curves are inside.

Every text from data, model or paths is escaped, and the page's own policy forbids scripts and requests.
"""

import base64
import functools
import html
import importlib.resources
import io
import itertools
import string
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import ROLES
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.curves import Curve, draw_chart
from pvchat_jax.evaluation.report import (
    CONTENT_COLUMNS,
    EXISTENCE_COLUMNS,
    GROUP_COLUMNS,
    Evaluation,
    content_rows,
    content_title,
    existence_rows,
    existence_title,
    group_rows,
    verdict,
)
from pvchat_jax.evaluation.scores import Answer, is_right
from pvchat_jax.files import write_atomically

CURVE_KEYS = ("loss", "lm_loss", "active_rate")
_NUM_FRAMES = 4
_FRAME_SIZE = (160, 128)
_EXAMPLES = 3
_DEFINITIONS = (
    "An answer that says neither yes nor no is unknown and counts as wrong. Balanced accuracy is the mean of the shares of right answers "
    "on videos with and without the subject; its interval is a bootstrap over videos. False acceptance is saying present of an absent "
    "subject, false rejection the reverse. AUC ranks by the log-odds of Yes against No."
)
_CONTENT_DEFINITIONS = (
    "A content answer is right when it has all content words of the expected answer. The most common answer is what one would score by "
    "always repeating the most frequent expected answer. Refusing is wrong where the subject is present and right where it is absent."
)


def write_html(path: Path, evaluation: Evaluation, stages: dict[str, Sequence[Curve]]) -> None:
    """Writes the page.

    Args:
      path: of the `.html` file; an interrupted write leaves the old file.
      evaluation: what is shown. Frames are read again from the videos of the examples.
      stages: training curves with the names of `CURVE_KEYS`, by the title of the training stage.
    """
    template = importlib.resources.files("pvchat_jax.evaluation").joinpath("templates", "report.html").read_text(encoding="utf-8")
    facts = (
        f"Model {evaluation.model}, stage {evaluation.stage}, step {evaluation.step} of {evaluation.run}. "
        f"{len(evaluation.answers)} questions about {len({answer.video for answer in evaluation.answers})} videos of {evaluation.records}."
    )
    page = string.Template(template).substitute(
        title=_text(f"How well the model knows {evaluation.subject}"),
        facts=_text(facts),
        verdict="".join(f"<p>{_text(sentence)}</p>" for sentence in verdict(evaluation.scores)),
        body="\n".join([*_tables(evaluation), *_charts(stages), *_examples(evaluation.answers), *_set_aside(evaluation)]),
    )
    write_atomically(Path(path), page)


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _tables(evaluation: Evaluation) -> Iterator[str]:
    scores = evaluation.scores
    if scores.existence.num_questions:
        yield f"<h2>{_text(existence_title(evaluation.subject))}</h2>"
        yield _table(EXISTENCE_COLUMNS, existence_rows(scores), emphasised=1)
        yield f'<p class="note">{_text(_DEFINITIONS)}</p>'
        yield _table(GROUP_COLUMNS, group_rows(scores))
    if rows := content_rows(scores):
        yield f"<h2>{_text(content_title(evaluation.subject))}</h2>"
        yield _table(CONTENT_COLUMNS, rows)
        yield f'<p class="note">{_text(_CONTENT_DEFINITIONS)}</p>'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], emphasised: int = 0) -> str:
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in columns)
    lines = [
        f"<tr{' class=model' if index < emphasised else ''}>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>"
        for index, row in enumerate(rows)
    ]
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _charts(stages: dict[str, Sequence[Curve]]) -> Iterator[str]:
    figures = []
    for stage, curves in stages.items():
        by_name = {curve.name: curve for curve in curves}
        for title, names in ((f"{stage}: loss", ("loss", "lm_loss")), (f"{stage}: share of active routed heads", ("active_rate",))):
            if shown := [by_name[name] for name in names if name in by_name]:
                keys = "".join(
                    f'<span class="legend"><span class="key key-{index}"></span>{_text(curve.name)}</span>'
                    for index, curve in enumerate(shown)
                )
                caption = f"{_text(title)} {keys if len(shown) > 1 else ''}"
                figures.append(f"<figure>{draw_chart(title, shown)}<figcaption>{caption}</figcaption></figure>")
    if figures:
        yield "<h2>Training</h2>"
        yield f'<div class="charts">{"".join(figures)}</div>'


def _examples(answers: Sequence[Answer]) -> Iterator[str]:
    """A few right and wrong answers of each type of question."""
    strip = functools.cache(_frame_strip)  # a video may be shown more than once
    for kind in QUESTION_TYPES:
        cards = [
            _card(answer, right, strip(answer.video))
            for right in (True, False)
            for answer in choose_examples([answer for answer in answers if answer.type == kind and is_right(answer) == right])
        ]
        if cards:
            yield f"<h2>Examples: {_text(kind)}</h2>"
            yield f'<div class="cards">{"".join(cards)}</div>'


def choose_examples(answers: Sequence[Answer], count: int = _EXAMPLES) -> list[Answer]:
    """Up to `count` answers of different videos, taking the roles in turn so that each is seen."""
    per_video = list({answer.video: answer for answer in reversed(answers)}.values())[::-1]
    by_role = [[answer for answer in per_video if answer.role == role] for role in ROLES]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*by_role))
    return [answer for answer in in_turn if answer is not None][:count]


def _card(answer: Answer, right: bool, frames: str) -> str:
    badge = '<span class="badge right">right</span>' if right else '<span class="badge wrong">wrong</span>'
    lines = {"asked": answer.question, "expected": answer.gold, "answered": answer.answer or "(nothing)"}
    if answer.log_odds is not None:
        lines["log-odds"] = f"{answer.log_odds:+.2f} for Yes"
    items = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in lines.items())
    caption = f"{answer.role.replace('_', ' ')}, {Path(answer.video).name}"
    return f'<div class="card">{frames}{badge}<span class="note">{_text(caption)}</span><dl>{items}</dl></div>'


def _frame_strip(video: str) -> str:
    try:
        frames = read_frames(video, _NUM_FRAMES).frames
    except UserError:
        return '<p class="note">The video can no longer be read.</p>'
    pictures = "".join(f'<img alt="frame" src="data:image/png;base64,{_png(Image.fromarray(frame))}">' for frame in frames)
    return f'<div class="frames">{pictures}</div>'


def _png(image: Image.Image) -> str:
    image.thumbnail(_FRAME_SIZE)
    buffer = io.BytesIO()
    image.quantize().save(buffer, "PNG", optimize=True)  # 256 colours take a third of the space
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _set_aside(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.set_aside:
        yield f"<h2>Set aside</h2><p>Not scored, because they could not be read ({len(evaluation.set_aside)}):</p>"
        yield f"<ul>{''.join(f'<li>{_text(item.reason)}</li>' for item in evaluation.set_aside)}</ul>"
