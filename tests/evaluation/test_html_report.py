"""The page: complete in itself, escaped throughout, and with all its parts."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.answer_record import SetAside
from pvchat_jax.evaluation.curves import Curve, StageCurves
from pvchat_jax.evaluation.gallery import choose_examples
from pvchat_jax.evaluation.html_report import write_html
from tests.evaluation.answered import content, existence
from tests.evaluation.pages import SECTIONS, Page, make_answers, make_evaluation, make_stages, write_full_page

ATTACK = "<script>alert('x')</script><img src=http://x.example onerror=a>\" onload=\"b"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_full_page(tmp_path_factory.mktemp("report")).read_text(encoding="utf-8")


def write(folder: Path, stages: Sequence[StageCurves] = (), **changes: object) -> Page:
    evaluation = dataclasses.replace(make_evaluation(make_answers(folder)), **changes)
    write_html(folder / "report.html", evaluation, stages)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_needs_nothing_from_outside(source: str) -> None:
    page = Page(source)
    assert not re.search(r"https?://|//\w|url\(|@import", re.sub(r'src="data:[^"]*"', "", source))
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert all(link.startswith("#") for link in page.attributes("a", "href"))
    assert not any("srcset" in attributes for _, attributes in page.tags)
    assert "default-src 'none'" in page.attributes("meta", "content")[-1]


def test_has_all_sections_linked_and_every_tag_closed(source: str) -> None:
    page = Page(source)
    assert page.unbalanced == []
    assert tuple(page.attributes("section", "id")) == SECTIONS
    assert [link.removeprefix("#") for link in page.attributes("a", "href")] == list(SECTIONS)


def test_frames_are_small_pictures_of_the_video(source: str) -> None:
    page = Page(source)
    pictures = page.pictures()
    assert len(pictures) >= 4 and all(picture.size == (192, 144) for picture in pictures)
    names = [re.fullmatch(r"frame \d of \d of (\d)\.png", alt).group(1) for alt in page.attributes("img", "alt")]
    for name, picture in zip(names, pictures, strict=True):
        np.testing.assert_allclose(picture.getpixel((5, 5)), (25 * int(name), 90, 60), atol=4)


def test_pictures_and_tables_speak_to_those_who_do_not_see(source: str) -> None:
    page = Page(source)
    assert all(page.attributes("img", "alt")) and all(page.attributes("svg", "aria-label"))
    assert set(page.attributes("svg", "role")) == {"img"}
    assert set(page.attributes("th", "scope")) == {"row", "col"}
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") == tags.count("thead") > 5


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    hostile = [
        dataclasses.replace(answer, question=ATTACK, gold=ATTACK, answer=ATTACK, subject=ATTACK, video=f"/gone/{ATTACK}")
        for answer in make_answers(tmp_path)
    ]
    changes = {name: ATTACK for name in ("run", "records", "subject", "model")}
    scores = make_evaluation(hostile).scores
    activity = HeadActivity(present={ATTACK: (0.5,)}, absent={ATTACK: (0.5,)}, num_present=1, num_absent=1, num_shared_heads=1)
    stages = [StageCurves(title=ATTACK, curves=[Curve(name=f"active_rate/{ATTACK}", points=[(1, 1)])], target_active_rate=0.5)]
    page = write(
        tmp_path, stages, answers=hostile, set_aside=[SetAside(ATTACK, ATTACK)], systems={ATTACK: scores}, activity=activity, **changes
    )
    assert "script" not in {tag for tag, _ in page.tags} and page.unbalanced == []
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(ATTACK) >= 20


def test_other_systems_stand_between_the_model_and_the_baselines(source: str) -> None:
    rows = re.findall(r'<th scope="row">([^<]*)</th>', source)
    assert rows[:6] == ["this model", "question_only", "wrong_person", "always-yes", "always-no", "majority"]
    assert rows.count("question_only") == 2  # once more for content


def test_shows_confusion_calibration_and_verdict(source: str) -> None:
    page = Page(source)
    for text in (
        "look-alike, grade 1",
        "look-alike, grade 2",
        "stranger",
        "Expected calibration error",
        "+0.40 nats",
        "It ",
        "/c.mp4 is empty",
    ):
        assert text in page.text
    assert source.count('class="threshold"') == 1


def test_head_activity_shows_both_sides_and_their_signed_difference(source: str) -> None:
    section = source[source.index('<section id="heads">') :]
    assert re.findall(r'<th scope="col">(\d+)</th>', section) == ["8", "9", "10"] * 3
    cells = re.findall(r'<td class="(\w+)[^"]*"[^>]*>([^<]*)</td>', section)
    assert cells[:3] == [("more", "90"), ("more", "25"), ("more", "50")]
    assert cells[-3:] == [("more", "+80.0"), ("less", "-25.0"), ("more", "+0.0")]
    assert "head 8 of 6.self: on for 90.0% with" in section


def test_every_stage_has_its_curves_with_a_line_per_module_and_the_target(source: str) -> None:
    for stage in ("Stage 1", "Stage 2"):
        for title in ("loss", "regularisers", "token accuracy", "active rate of the routed heads", "SPR coefficient"):
            assert f"<figcaption>{stage}: {title}</figcaption>" in source
    for module in ("6.self", "6.cross", "7.self"):
        assert source.count(f">{module}</text>") == 4
    assert source.count(">target 50</text>") == 2


def test_older_runs_show_the_mean_over_modules_and_what_is_missing_is_left_out(tmp_path: Path) -> None:
    curves = [Curve(name="active_rate", points=[(1, 0.5)])]
    stages = [
        StageCurves(title="Stage 1", curves=curves, target_active_rate=0.5),
        StageCurves(title="Stage 2", curves=[], target_active_rate=0.5),
    ]
    answers = [content("gone", "positive", "It waves.", "It jumps.")]
    scores = make_evaluation(answers).scores
    page = write(tmp_path, stages, answers=answers, scores=scores, activity=None, systems={}, threshold=None, set_aside=[])
    assert page.attributes("section", "id") == ["content", "examples", "routing"]
    assert "mean" in page.text and "Nothing was logged." in page.text and "can no longer be read" in page.text


def test_wrong_answers_come_first_and_a_page_of_photographs_stays_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers = []
    for index in range(40):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(tmp_path / f"photo{index}.png")
        said = existence("", "positive", "yes" if index % 2 else "no")
        answers.append(dataclasses.replace(said, video=str(tmp_path / f"photo{index}.png")))
    page = write(tmp_path, make_stages(), answers=answers)
    badges = [badge for badge in page.attributes("span", "class") if badge and badge.startswith("badge")]
    assert badges == ["badge wrong"] * 12 + ["badge right"] * 12
    assert (tmp_path / "report.html").stat().st_size < 3e6


def test_examples_take_roles_and_types_in_turn_and_prefer_other_videos() -> None:
    answers = [existence(f"p{n // 2}", "positive", "yes") for n in range(8)]
    answers += [content("p0", "positive", "It waves.", "It waves."), content("p9", "positive", "It waves.", "It waves.")]
    answers += [existence("h", "hard_negative", "no"), existence("e", "easy_negative", "no")]
    chosen = choose_examples(answers, 6)
    assert [(answer.role, answer.type) for answer in chosen] == [
        ("positive", "existence"),
        ("positive", "action"),
        ("hard_negative", "existence"),
        ("easy_negative", "existence"),
        ("positive", "existence"),
        ("positive", "action"),
    ]
    assert [Path(answer.video).stem for answer in chosen] == ["p0", "p9", "h", "e", "p1", "p0"]
    assert len(choose_examples(answers, 99)) == len(answers)
