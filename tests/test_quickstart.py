"""The quickstart: its parts in order, none of them twice, and once for real with a very small model."""

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from configs import drawn_person
from pvchat_jax import quickstart
from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import read_calibration
from pvchat_jax.quickstart import Plan, run_quickstart

PLAN = Plan(test_videos=8, minutes="a minute")


def run(out: Path, seed: int = 0, plan: Plan = PLAN) -> str:
    """What the quickstart prints."""
    console = Console(file=io.StringIO(), width=160)
    run_quickstart(out, seed, plan, console)
    return console.file.getvalue()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Replaces the three parts by ones that only make their folder; returns what was called."""
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append(folder.name)
        folder.mkdir()

    monkeypatch.setattr(quickstart, "_draw", lambda out, seed, plan, console: make(out / "world"))
    monkeypatch.setattr(quickstart, "_personalise", lambda config, console: make(Path(config.output_dir)))
    monkeypatch.setattr(quickstart, "_evaluate", lambda out, config, console: make(out / "evaluation"))
    return made


def test_says_what_it_will_do_does_it_and_says_how_to_go_on(tmp_path: Path, calls: list[str]) -> None:
    text = run(tmp_path / "q")
    assert calls == ["world", "wilson", "evaluation"]
    begin, _, rest = text.partition("1. draw one video of <Wilson>, some of others, 8 test videos\n")
    assert "a minute" in begin
    assert f"{tmp_path}/q/evaluation/report.html" in rest
    assert f"python -m pvchat_jax.evaluate --run={tmp_path}/q/wilson/stage2" in rest


def test_finished_parts_are_not_done_again(tmp_path: Path, calls: list[str]) -> None:
    run(tmp_path)
    calls.clear()
    assert run(tmp_path).count("done before") == 3
    assert calls == []


def test_a_part_that_failed_is_taken_up_again(tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(config: DrawnPersonConfig, console: Console) -> None:
        Path(config.output_dir).mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quickstart, "_personalise", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    (tmp_path / "wilson").rmdir()
    run(tmp_path)
    assert calls == ["world", "wilson", "evaluation"]


def test_a_part_whose_folder_was_deleted_is_done_again(tmp_path: Path, calls: list[str]) -> None:
    run(tmp_path)
    calls.clear()
    (tmp_path / "evaluation").rmdir()
    run(tmp_path)
    assert calls == ["evaluation"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"plan": dataclasses.replace(PLAN, test_videos=16)}])
def test_another_seed_or_plan_does_not_mix_with_what_is_there(tmp_path: Path, calls: list[str], change: dict[str, object]) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match="choose another --out"):
        run(tmp_path, **change)


def test_stopping_says_how_to_continue(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "_personalise", stop)
    with pytest.raises(SystemExit) as status:
        quickstart.main([f"--out={tmp_path}"])
    assert status.value.code == 130
    assert "start the same command again" in capsys.readouterr().err


def brief(stage: TrainConfig) -> TrainConfig:
    """The same stage for two steps."""
    return dataclasses.replace(stage, num_steps=2, optimizer=dataclasses.replace(stage.optimizer, warmup_steps=1))


def test_learns_a_person_and_reports(tmp_path: Path) -> None:
    tiny = drawn_person.tiny()
    tiny = dataclasses.replace(tiny, num_clips=8, num_calibration=8, stage2=brief(tiny.stage2))
    plan = dataclasses.replace(PLAN, personalise=tiny)
    text = run(tmp_path, plan=plan)
    assert "this model" in text and "always-no" in text and "question_only" in text
    values = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert (values["stage"], values["step"], len(values["answers"]), values["set_aside"]) == (2, 2, 64, [])
    assert set(values["systems"]) == {"base", "question_only"}
    assert values["threshold"] is not None and read_calibration(tmp_path / "wilson" / "stage2").num_present == 4
    assert json.loads((tmp_path / "wilson" / "looks.json").read_text(encoding="utf-8"))["identity"]
    page = (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "data:image/" in page and "look-alike, grade 1" in page
    assert run(tmp_path, plan=plan).count("done before") == 3
