"""The quickstart: its parts in order, none of them twice, and once for real with a very small model."""

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from configs import stage1, stage2
from pvchat_jax import quickstart
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.quickstart import Plan, run_quickstart

PLAN = Plan(train_videos=8, test_videos=4, minutes="a minute")


def run(out: Path, seed: int = 0, plan: Plan = PLAN) -> str:
    """What the quickstart prints."""
    console = Console(file=io.StringIO(), width=160)
    run_quickstart(out, seed, plan, console)
    return console.file.getvalue()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Replaces the four parts by ones that only make their folder; returns what was called."""
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append(folder.name)
        folder.mkdir()

    monkeypatch.setattr("pvchat_jax.world.build.build_world", lambda out, **settings: make(out))
    monkeypatch.setattr("pvchat_jax.train.run", lambda config: make(Path(config.output_dir)))
    monkeypatch.setattr(quickstart, "evaluate_run", lambda run, records, out, console: make(out))
    monkeypatch.setattr(quickstart, "print_summary", lambda evaluation, console: None)
    return made


def test_says_what_it_will_do_does_it_and_says_how_to_go_on(tmp_path: Path, calls: list[str]) -> None:
    text = run(tmp_path / "q")
    assert calls == ["world", "stage1", "stage2", "evaluation"]
    begin, _, rest = text.partition("1. draw 8 training and 4 test videos\n")
    assert "a minute" in begin
    assert f"{tmp_path}/q/evaluation/report.html" in rest
    assert f"python -m pvchat_jax.evaluate --run={tmp_path}/q/stage2" in rest


def test_finished_parts_are_not_done_again(tmp_path: Path, calls: list[str]) -> None:
    run(tmp_path)
    calls.clear()
    assert run(tmp_path).count("done before") == 4
    assert calls == []


def test_a_part_that_failed_is_taken_up_again(tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(config: TrainConfig) -> None:
        Path(config.output_dir).mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pvchat_jax.train.run", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    (tmp_path / "stage1").rmdir()
    run(tmp_path)
    assert calls == ["world", "stage1", "stage2", "evaluation"]


def test_a_part_whose_folder_was_deleted_is_done_again(tmp_path: Path, calls: list[str]) -> None:
    run(tmp_path)
    calls.clear()
    (tmp_path / "evaluation").rmdir()
    run(tmp_path)
    assert calls == ["evaluation"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"plan": dataclasses.replace(PLAN, train_videos=9)}])
def test_another_seed_or_plan_does_not_mix_with_what_is_there(tmp_path: Path, calls: list[str], change: dict[str, object]) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match="choose another --out"):
        run(tmp_path, **change)


def test_stopping_says_how_to_continue(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pvchat_jax.train.run", stop)
    with pytest.raises(SystemExit) as status:
        quickstart.main([f"--out={tmp_path}"])
    assert status.value.code == 130
    assert "start the same command again" in capsys.readouterr().err


def smallest(config: TrainConfig) -> TrainConfig:
    """The tiny preset of a stage with one layer of each kind, for two steps."""
    tiny = config.model
    model = dataclasses.replace(
        tiny,
        vision=dataclasses.replace(tiny.vision, depth=3, width=32, num_heads=2, mlp_width=32),
        qformer=dataclasses.replace(tiny.qformer, num_layers=1, remoh=dataclasses.replace(tiny.qformer.remoh, start_layer=0)),
        language_model=dataclasses.replace(tiny.language_model, num_layers=1),
    )
    return dataclasses.replace(config, num_steps=2, model=model, optimizer=dataclasses.replace(config.optimizer, warmup_steps=1))


def test_makes_a_world_trains_on_it_and_reports(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, train_videos=12, stages=(smallest(stage1.get_config("tiny")), smallest(stage2.get_config("tiny"))))
    text = run(tmp_path, plan=plan)
    assert "this model" in text and "always-no" in text and "In plain accuracy" in text
    values = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert (values["stage"], values["step"], len(values["answers"]), values["set_aside"]) == (2, 2, 32, [])
    assert values["scores"]["existence"]["auc"] is not None
    page = (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 and "data:image/png" in page
    assert run(tmp_path, plan=plan).count("done before") == 4
