"""The card of a sweep: its numbers, its links, its doubts, and its files."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.card.card import WHOLE, Card
from pvchat_jax.evaluation.card.comparing import compare
from pvchat_jax.evaluation.card.loading import load_systems
from pvchat_jax.evaluation.card.make import CardOptions, write_card
from pvchat_jax.evaluation.card.slices import Slice, pick, slices_of
from pvchat_jax.evaluation.card.systems import System
from pvchat_jax.evaluation.metrics.content import CONTENT_ACCURACY
from pvchat_jax.evaluation.metrics.existence import ACCURACY, BALANCED_ACCURACY
from pvchat_jax.evaluation.metrics.metric import value_of
from pvchat_jax.evaluation.metrics.verdicts import is_right
from tests.evaluation.answered import content, existence
from tests.evaluation.card.made import drawn_answers, result_json, write_sweep
from tests.evaluation.pages import Page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Card, Path]:
    """The card of a sweep of two subjects and two decodings, and its folder."""
    folder = tmp_path_factory.mktemp("card")
    sweep = write_sweep(folder / "sweep", videos=12, decodings=("greedy", "num_beams=5"))
    card = write_card(sweep, folder / "out", CardOptions(title="Two people & <more>"))
    return card, folder / "out"


def test_systems_are_models_and_what_they_are_held_against(made: tuple[Card, Path]) -> None:
    card, _ = made
    kinds = {system.name: system.kind for system in card.systems}
    assert [name for name, kind in kinds.items() if kind == "model"] == ["personalized, greedy", "personalized, num_beams=5"]
    assert kinds["base"] == "impersonal"  # says the same beside both
    assert kinds["question_only"] == "blind" or kinds["question_only (personalized, greedy)"] == "blind"
    assert {"always_yes", "always_no", "majority"} <= set(kinds)
    assert all(len(system.answers) == 2 * 12 * 4 for system in card.systems)


def test_numbers_are_those_of_the_answers(made: tuple[Card, Path]) -> None:
    card, _ = made
    model = card.models[0]
    numbers = card.scores[model.name][WHOLE].numbers
    for metric in (ACCURACY, BALANCED_ACCURACY, CONTENT_ACCURACY):
        assert numbers[metric.key].value == value_of(metric, model.answers)
        low, high = numbers[metric.key].interval
        assert low <= numbers[metric.key].value <= high
    asked = [answer for answer in model.answers if answer.type == "existence"]
    assert numbers["accuracy"].num_questions == len(asked) and numbers["accuracy"].value == sum(map(is_right, asked)) / len(asked)


def test_every_figure_leads_to_the_answers_behind_it(made: tuple[Card, Path]) -> None:
    _, out = made
    page = Page((out / "card.html").read_text(encoding="utf-8"))
    assert page.unbalanced == []
    links = [a["href"][1:] for tag, a in page.tags if tag == "a" and a.get("class") == "figure"]
    heads = {a["id"] for tag, a in page.tags if tag == "p" and a.get("class") == "picked"}
    assert len(links) > 100 and set(links) == heads
    rows = [set((a.get("class") or "").split()) for tag, a in page.tags if tag == "li"]
    text = (out / "card.html").read_text(encoding="utf-8")
    for anchor in heads:
        assert f"#{anchor}:target~ol>li:not(.{anchor})" in text
        title = re.search(rf'id="{anchor}">[^<]*?the (\d+) answers', text)
        assert sum(anchor in row for row in rows) == int(title[1])
    figure = re.search(r'<th scope="row">personalized, greedy</th>.*?href="#(\w+)">([\d.]+)', text)
    behind = re.findall(rf'<li class="(?:[^"]* )?{figure[1]}(?: [^"]*)?"><b class="(\w+)"', text)
    assert f"{100 * behind.count('right') / len(behind):.1f}" == figure[2]


def test_the_page_needs_nothing_else_and_escapes_everything(made: tuple[Card, Path]) -> None:
    page = (made[1] / "card.html").read_text(encoding="utf-8")
    assert "Two people &amp; &lt;more&gt;" in page and "<Wilson>" not in page and "&lt;Wilson&gt;" in page
    assert not re.search(r"<script|https?://", page)


def test_files_hold_the_same_numbers(made: tuple[Card, Path]) -> None:
    card, out = made
    values = json.loads((out / "card.json").read_text(encoding="utf-8"))
    rows = list(csv.DictReader((out / "scores.csv").open(encoding="utf-8")))
    for system in values["systems"]:
        for part in system["slices"]:
            for key, number in part["scores"].items():
                [row] = [
                    r for r in rows if (r["system"], r["slice"], r["of"], r["metric"]) == (system["name"], part["slice"], part["of"], key)
                ]
                assert row["value"] == ("" if number["value"] is None else str(number["value"]))
    assert values["methods"]["BLEU-1"].startswith("sacrebleu nrefs:1|") and "rules" in values["methods"]["ES"]
    assert values["judge_agreement"]["DC"]["plain_rank"] > 0.99
    assert any("BERTScore is left out" in sentence for sentence in values["skipped"])
    latex = (out / "table.tex").read_text(encoding="utf-8")
    assert latex.count(r"\\") == len(card.systems) + 1 and r"num\_beams=5" in latex and r"\toprule" in latex


def test_slices_are_disjoint_and_together_everything(made: tuple[Card, Path]) -> None:
    answers = made[0].models[0].answers
    parts = slices_of(answers)
    kinds = {part.kind for part in parts}
    assert kinds == {"everything", "question type", "subject", "people", "clips", "in the video"}
    for kind in kinds:
        assert sum(len(pick(answers, part)) for part in parts if part.kind == kind) == len(answers)
    assert {part.name for part in parts if part.kind == "clips"} == {"real", "synthetic"}
    both = dataclasses.replace(answers[0], question="Is <Wilson> or <Mara> here?", people=None)
    assert pick([both], Slice("people", "several")) == [both]


def test_a_model_that_guesses_is_doubted(tmp_path: Path) -> None:
    card = write_card(write_sweep(tmp_path / "sweep", quality=0.5, subjects=("<Wilson>",), videos=16), tmp_path / "out")
    said = " ".join(card.doubts)
    assert re.search(r"personalized is not shown to beat question_only, always_yes, always_no and majority by the balanced", said)
    assert re.search(r"is not shown to beat base and wrong_person by .* does not know this person", said)
    assert "about one subject" in said and "training videos are not known" in said
    good = write_card(write_sweep(tmp_path / "good", quality=1.0, videos=16), tmp_path / "out")
    assert not any("not shown to beat" in sentence for sentence in good.doubts)
    page = (tmp_path / "out" / "card.html").read_text(encoding="utf-8")
    assert "95% interval" in page and "95% interval ;" not in page  # of numbers that all resamples have alike
    assert re.search(r"4\d\.\d points above question_only", good.lead[0]) and "2 subjects" in " ".join(good.doubts)


def test_plain_accuracy_below_always_no_is_told(tmp_path: Path) -> None:
    answers = [existence(str(n), "easy_negative", "yes" if n == 0 else "no") for n in range(20)] + [existence("p", "positive", "no")]
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result_json(answers)), encoding="utf-8")
    card = write_card(path, tmp_path / "out")
    assert any("result has 90.5% and always_no, which sees no video of the question, 95.2%" in sentence for sentence in card.doubts)


def test_runs_are_compared_on_the_questions_that_both_were_asked(tmp_path: Path) -> None:
    first, second = drawn_answers("<Wilson>", 0.6, videos=20), drawn_answers("<Wilson>", 1.0, videos=24, folder="/elsewhere/videos")
    for name, answers in (("a", first), ("b", second)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result_json(answers)), encoding="utf-8")
    card = write_card([tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "out")
    [one] = card.compared
    assert (one.first, one.second, one.num_matched, one.num_unmatched) == ("a", "b", 80, 16)
    found = one.differences["balanced_accuracy"]
    assert found.value == pytest.approx(value_of(BALANCED_ACCURACY, second[:80]) - value_of(BALANCED_ACCURACY, first))
    assert found.interval.low > 0 and found.p_value < 0.05
    assert one.existence.only_first == 0 and one.existence.only_second == sum(not is_right(a) for a in first if a.type == "existence")
    assert any("asked different questions: 80 questions are the same, and 16 are not compared" in sentence for sentence in card.doubts)


def test_questions_that_are_asked_twice_are_matched_in_order() -> None:
    once = [content("a", "positive", "Waving.", "Waving."), content("a", "positive", "Waving.", "Jumping.")]
    one, two = (System(name=name, kind="model", answers=tuple(answers)) for name, answers in (("x", once), ("y", once[::-1])))
    assert compare([CONTENT_ACCURACY], one, two).num_matched == 2


def test_a_single_evaluation_and_a_result_file_are_scored_alike(tmp_path: Path) -> None:
    answers = drawn_answers("<Wilson>", 0.7)
    values = {"format": 1, "run": "runs/x", "answers": [dataclasses.asdict(answer) | {"said": None, "right": True} for answer in answers]}
    (tmp_path / "evaluation.json").write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "result.json").write_text(json.dumps(result_json(answers, labels=False)), encoding="utf-8")
    single, result = (load_systems(path)[0] for path in (tmp_path, tmp_path / "result.json"))
    assert list(single.answers) == answers
    same: list[tuple[Answer, Answer]] = list(zip(single.answers, result.answers, strict=True))
    assert all((a.present, a.type, a.gold, a.answer) == (b.present, b.type, b.gold, b.answer) for a, b in same)
    for metric in (ACCURACY, CONTENT_ACCURACY):
        assert value_of(metric, single.answers) == value_of(metric, result.answers)
