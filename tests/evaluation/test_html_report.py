"""The page: complete in itself, escaped throughout, and showing right and wrong answers."""

import base64
import dataclasses
import html.parser
import io
from pathlib import Path

import pytest
from PIL import Image

from pvchat_jax.evaluation.curves import Curve
from pvchat_jax.evaluation.html_report import choose_examples, write_html
from pvchat_jax.evaluation.scores import Answer, SetAside
from tests.evaluation.answered import content, existence
from tests.evaluation.test_report import make_evaluation

ATTACK = "<script>alert('x')</script><img src=http://x.example onerror=a>\" onload=\"b"


class Page(html.parser.HTMLParser):
    """Collects tags with their attributes and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for other, attributes in self.tags if other == tag]


@pytest.fixture
def answers(tmp_path: Path) -> list[Answer]:
    made = []
    for index, role in enumerate(["positive", "hard_negative", "easy_negative"] * 2):
        Image.new("RGB", (320, 240), (40 * index, 90, 60)).save(tmp_path / f"{index}.png")
        for answer in (existence("", role, "yes", 0.25), content("", role, "It waves.", "It waves.")):
            made.append(dataclasses.replace(answer, video=str(tmp_path / f"{index}.png")))
    return made


def write(tmp_path: Path, answers: list[Answer], **changes: object) -> Page:
    stages = {"Stage 1": [Curve(name="loss", points=[(1, 2.0), (2, 1.0)]), Curve(name="active_rate", points=[(1, 0.5)])], "Stage 2": []}
    evaluation = dataclasses.replace(make_evaluation(answers), **changes)
    write_html(tmp_path / "out" / "report.html", evaluation, stages)
    return Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))


def test_needs_nothing_from_outside(tmp_path: Path, answers: list[Answer]) -> None:
    page = write(tmp_path, answers)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    sources = page.attributes("img", "src")
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not any("href" in attributes or "srcset" in attributes for _, attributes in page.tags)
    assert "default-src 'none'" in page.attributes("meta", "content")[-1]


def test_frames_are_small_pictures_of_the_video(tmp_path: Path, answers: list[Answer]) -> None:
    source = write(tmp_path, answers).attributes("img", "src")[0]
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert picture.size == (160, 120)
    assert picture.convert("RGB").getpixel((80, 60)) in [(40 * index, 90, 60) for index in range(6)]


def test_foreign_text_stays_text(tmp_path: Path, answers: list[Answer]) -> None:
    hostile = [dataclasses.replace(answer, question=ATTACK, gold=ATTACK, answer=ATTACK, subject=ATTACK) for answer in answers]
    changes = {name: ATTACK for name in ("run", "records", "subject", "model")}
    page = write(tmp_path, hostile, set_aside=[SetAside(ATTACK, ATTACK)], **changes)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(ATTACK) >= 10


def test_shows_verdict_tables_curves_and_both_kinds_of_examples(tmp_path: Path, answers: list[Answer]) -> None:
    page = write(tmp_path, answers, set_aside=[SetAside("/c.mp4", "/c.mp4 is empty")])
    for text in (
        "always-yes",
        "always-no",
        "majority",
        "It does not beat",
        "Examples: existence",
        "Examples: action",
        "/c.mp4 is empty",
        "+0.25 for Yes",
    ):
        assert text in page.text
    badges = page.attributes("span", "class")
    assert badges.count("badge right") >= 3 and badges.count("badge wrong") >= 3
    assert len(page.attributes("svg", "role")) == 2
    assert page.text.index("this model") < page.text.rindex("always-yes")


def test_a_video_that_is_gone_leaves_a_note(tmp_path: Path, answers: list[Answer]) -> None:
    for path in tmp_path.glob("*.png"):
        path.unlink()
    page = write(tmp_path, answers)
    assert "can no longer be read" in page.text and not page.attributes("img", "src")


def test_examples_are_of_different_videos_and_of_each_role() -> None:
    answers = [existence(f"p{n // 2}", "positive", "yes") for n in range(8)]
    answers += [existence("h", "hard_negative", "no"), existence("e", "easy_negative", "no")]
    chosen = choose_examples(answers, 4)
    assert [answer.role for answer in chosen] == ["positive", "hard_negative", "easy_negative", "positive"]
    assert len({answer.video for answer in chosen}) == 4
