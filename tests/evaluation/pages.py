"""A report with everything in it, and a reader of its markup, for tests."""

import base64
import dataclasses
import html.parser
import io
from pathlib import Path

from PIL import Image, ImageDraw

from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.curves import Curve, StageCurves
from pvchat_jax.evaluation.html_report import write_html
from pvchat_jax.evaluation.report import Evaluation
from pvchat_jax.evaluation.scores import score_answers
from tests.evaluation.answered import content, existence

SECTIONS = ("scores", "grades", "calibration", "content", "examples", "training", "routing", "heads", "left_out")
_VOID = {"meta", "img", "br"}


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the visible text, and tags that do not close in order; SVG's self-closed ones count as closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.unbalanced: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for other, attributes in self.tags if other == tag]

    def pictures(self) -> list[Image.Image]:
        """The decoded images, in order."""
        encoded = [source.partition(";base64,") for source in self.attributes("img", "src")]
        assert all(kind in ("data:image/png", "data:image/jpeg") for kind, _, _ in encoded)
        return [Image.open(io.BytesIO(base64.b64decode(content, validate=True))).convert("RGB") for _, _, content in encoded]


def make_answers(folder: Path) -> list[Answer]:
    """Two questions about each of nine pictures, of all roles and grades, right and wrong."""
    made = []
    kinds = [("positive", None), ("hard_negative", 1), ("easy_negative", None), ("hard_negative", 2)]
    for index in range(9):
        path = folder / f"{index}.png"
        picture = Image.new("RGB", (320, 240), (25 * index, 90, 60))
        ImageDraw.Draw(picture).ellipse((100, 60, 220, 180), fill=(200, 180, 25 * index))
        picture.save(path)
        role, grade = kinds[index % 4]
        odds = (0.25, -1.5, 3.0)[index % 3]
        answers = (existence("", role, "yes" if odds > 0 else "no", odds, grade=grade), content("", role, "It waves.", "It waves."))
        made += [dataclasses.replace(answer, video=str(path)) for answer in answers]
    return made


def make_evaluation(answers: list[Answer]) -> Evaluation:
    """An evaluation in which nothing is missing."""
    modules = ("6.self", "6.cross", "7.self")
    return Evaluation(
        run="runs/stage2",
        records="a_rather_long_folder_name/with_another_one_inside/test.jsonl",
        subject="<Wilson>",
        model="tiny",
        stage=2,
        step=400,
        scores=score_answers(answers),
        answers=answers,
        set_aside=[SetAside("/c.mp4", "/c.mp4 is empty")],
        systems={"question_only": score_answers(answers[:6]), "wrong_person": score_answers(answers[4:])},
        threshold=0.4,
        activity=HeadActivity(
            present={module: (0.9, 0.25, 0.5) for module in modules},
            absent={module: (0.1, 0.5, 0.5) for module in modules},
            num_present=3,
            num_absent=6,
            num_shared_heads=8,
        ),
    )


def make_stages() -> list[StageCurves]:
    """Two stages with all curves of a model of three routed modules."""
    values = {"loss": 2.0, "lm_loss": 1.9, "spr_loss": 0.1, "hae_loss": 0.01, "token_accuracy": 0.5}
    values |= {f"active_rate/{module}": 0.8 for module in ("6.self", "6.cross", "7.self")}
    values |= {f"spr_coefficient/{module}": 1e-6 for module in ("6.self", "6.cross", "7.self")}
    curves = [Curve(name=name, points=[(step, value / step) for step in (1, 2, 3)]) for name, value in values.items()]
    return [StageCurves(title=f"Stage {stage}", curves=curves, target_active_rate=0.5) for stage in (1, 2)]


def write_full_page(folder: Path) -> Path:
    """The file of a report that has all sections."""
    path = folder / "out" / "report.html"
    write_html(path, make_evaluation(make_answers(folder)), make_stages())
    return path
