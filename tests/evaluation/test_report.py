"""What an evaluation says: in JSON, in the terminal and in words."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.report import Evaluation, print_summary, verdict, write_json
from pvchat_jax.evaluation.scores import score_answers
from tests.evaluation.answered import content, existence


def make_evaluation(answers: Sequence[Answer], set_aside: Sequence[SetAside] = ()) -> Evaluation:
    return Evaluation(
        run="runs/[bold]stage2",
        records="test.jsonl",
        subject="<Wilson>",
        model="tiny",
        stage=2,
        step=400,
        scores=score_answers(answers),
        answers=answers,
        set_aside=set_aside,
    )


def answers_with(num_right_present: int, num_right_absent: int, of: int = 40) -> list[Answer]:
    shown = [existence(f"p{n}", "positive", "yes" if n < num_right_present else "no") for n in range(of)]
    return shown + [existence(f"n{n}", "easy_negative", "no" if n < num_right_absent else "yes") for n in range(of)]


def test_a_good_model_beats_the_constant_answers() -> None:
    lead, plain = verdict(score_answers(answers_with(36, 38)))
    assert lead.startswith("It beats always-yes and always-no: balanced accuracy is 92.5% (95% interval ")
    assert lead.endswith("42.5 points above them.")
    assert plain == "In plain accuracy (92.5%) it is 42.5 points above always-yes (50.0%) and 42.5 points above always-no (50.0%)."


def test_a_lucky_model_is_not_shown_to_beat_them() -> None:
    lead, _ = verdict(score_answers(answers_with(22, 21)))
    assert lead.startswith("It is not shown to beat always-yes and always-no")


@pytest.mark.parametrize(("present", "absent", "margin"), [(40, 0, "level with them."), (10, 15, "18.8 points below them.")])
def test_a_useless_model_does_not_beat_them(present: int, absent: int, margin: str) -> None:
    lead, _ = verdict(score_answers(answers_with(present, absent)))
    assert lead.startswith("It does not beat always-yes and always-no") and lead.endswith(margin)


def test_without_both_classes_nothing_is_claimed() -> None:
    lead, _ = verdict(score_answers([existence("a", "positive", "yes")]))
    assert lead.startswith("All scored videos show the subject")
    assert verdict(score_answers([]))[0].startswith("No existence question was answered")


def test_content_is_set_against_the_most_common_answer() -> None:
    answers = [content("a", "positive", "It waves.", "It waves."), content("b", "positive", "It jumps.", "It jumps.")]
    assert verdict(score_answers(answers))[-1] == (
        "Where the subject is shown, right answers by type: action 100.0%, 50.0 points above the most common answer (50.0%)."
    )


def test_json_holds_every_answer_with_its_verdict(tmp_path: Path) -> None:
    answers = [
        existence("a", "positive", "yes", 1.5),
        existence("b", "easy_negative", "?"),
        content("a", "positive", "It waves.", "\ud800 no"),
    ]
    answers[2] = content("a", "positive", "It waves.", "It jumps \u2603.")
    write_json(tmp_path / "new" / "evaluation.json", make_evaluation(answers, [SetAside("/c.mp4", "/c.mp4 is empty")]))
    values = json.loads((tmp_path / "new" / "evaluation.json").read_text(encoding="utf-8"))
    assert [(item["said"], item["right"], item["log_odds"]) for item in values["answers"]] == [
        ("present", True, 1.5),
        ("unknown", False, None),
        (None, False, None),
    ]
    assert values["answers"][2]["answer"] == "It jumps \u2603."
    assert values["scores"]["existence"]["accuracy"] == 0.5
    assert values["scores"]["baselines"]["always-yes"]["far"] == 1.0
    assert values["set_aside"] == [{"video": "/c.mp4", "reason": "/c.mp4 is empty"}]
    assert (values["step"], values["subject"]) == (400, "<Wilson>")
    assert (values["systems"], values["threshold"], values["head_activity"]) == ({}, None, None)
    assert [item["num_questions"] for item in values["calibration"]["bins"]] == [1]


def test_json_holds_other_systems_the_threshold_and_active_heads(tmp_path: Path) -> None:
    answers = [existence("a", "hard_negative", "no", grade=2)]
    activity = HeadActivity(present={}, absent={"1.self": (0.25, 1.0)}, num_present=0, num_absent=1, num_shared_heads=4)
    given = {"systems": {"base": score_answers(answers)}, "threshold": 0.5, "activity": activity}
    write_json(tmp_path / "evaluation.json", dataclasses.replace(make_evaluation(answers), **given))
    values = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert values["systems"]["base"]["confusion"]["look-alike, grade 2"]["said_absent"] == 1
    assert values["head_activity"]["absent"] == {"1.self": [0.25, 1.0]}
    assert (values["threshold"], values["calibration"], values["answers"][0]["grade"]) == (0.5, None, 2)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text("old")
    with pytest.raises(ValueError):
        write_json(path, make_evaluation([existence("a", "positive", "yes", float("nan"))]))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_terminal_shows_the_model_above_each_baseline_and_what_was_set_aside() -> None:
    console = Console(file=io.StringIO(), width=160)
    answers = [*answers_with(36, 38), content("p0", "positive", "It waves.", "It waves.")]
    print_summary(make_evaluation(answers, [SetAside("/c.mp4", "/[red]c.mp4 is empty")]), console)
    lines = console.file.getvalue().splitlines()
    order = [
        next(index for index, line in enumerate(lines) if name in line) for name in ("this model", "always-yes", "always-no", "majority")
    ]
    assert order == sorted(order)
    assert lines[order[0]].split()[2:4] == ["92.5", "92.5"] and lines[order[1]].split()[1:4] == ["50.0", "50.0", "-"]
    assert any("easy negative" in line for line in lines)
    assert any("action" in line and "100.0" in line for line in lines)
    assert any("It beats always-yes" in line for line in lines)
    assert "could not be read (1)" in console.file.getvalue() and "/[red]c.mp4 is empty" in console.file.getvalue()
