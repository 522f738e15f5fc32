"""The command: what it asks, what it writes, and what it says when something is missing."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import pytest

from pvchat_jax import evaluate
from pvchat_jax.config.run_directory import write_config
from pvchat_jax.data.record_files import write_records
from pvchat_jax.sweeps import grid, models
from pvchat_jax.sweeps.fingerprints import Weights
from pvchat_jax.training.initialise import LoadedRun
from tests.evaluation.test_generation import CONFIG, make_case

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two stages whose model knows all answers, and `test.jsonl` beside it: three videos, the second one damaged."""
    tokenizer, model, records, _ = make_case(tmp_path, [2, 2, 3])
    Path(records[1].video).write_bytes(b"")
    records[2] = dataclasses.replace(records[2], role="easy_negative")
    write_records(tmp_path / "test.jsonl", records)
    for stage, earlier in ((1, ""), (2, str(tmp_path / "stage1"))):
        write_config(dataclasses.replace(CONFIG, stage=stage, output_dir=str(tmp_path / f"stage{stage}"), init_from=earlier))
        (tmp_path / f"stage{stage}" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5, "active_rate": 0.5}\n')
    monkeypatch.setattr(models, "load_run", lambda run, mesh, step: LoadedRun(CONFIG, model, jnp.float32(0), tokenizer, step))
    monkeypatch.setattr(grid, "saved_steps", lambda run: [7])
    monkeypatch.setattr(grid, "weights_of", lambda run, step: Weights("weights", "base", "encoder", "encoder"))
    return tmp_path / "stage2"


def test_writes_scores_and_page_and_leaves_out_bad_videos(run: Path, capsys: pytest.CaptureFixture) -> None:
    evaluate.main([f"--run={run}", f"--records={run.parent / 'test.jsonl'}"])
    values = json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert (values["step"], values["stage"], len(values["answers"])) == (7, 2, 5)
    assert [item["video"] for item in values["set_aside"]] == [str(run.parent / "1.png")]
    page = (run / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "Stage 1: loss" in page and "Stage 2: active rate" in page and "target 50" in page
    assert values["head_activity"]["num_present"] == values["head_activity"]["num_absent"] == 1
    assert "With &lt;Wilson&gt; (1 videos), %" in page
    printed = capsys.readouterr().out
    assert "this model" in printed and "1.png" in printed and "report.html" in printed


def test_limit_and_out(run: Path) -> None:
    out = run.parent / "elsewhere"
    evaluate.main([f"--run={run}", f"--records={run.parent / 'test.jsonl'}", f"--out={out}", "--limit=1"])
    values = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert {answer["video"] for answer in values["answers"]} == {str(run.parent / "0.png")}


def test_a_sweep_ends_with_1_where_an_item_failed(run: Path, capsys: pytest.CaptureFixture) -> None:
    config = [f"--config={ROOT / 'configs' / 'eval.py'}:tiny", f"--config.output_dir={run.parent / 'sweep'}"]
    config += [f"--config.runs={run}", "--config.systems=personalized,majority", "--config.mesh.data=1"]
    evaluate.main([*config, f"--config.records={run.parent / 'test.jsonl'}"])
    assert "2 of 2 items are done" in capsys.readouterr().out
    with pytest.raises(SystemExit) as status:
        evaluate.main([*config, f"--config.records={run.parent / 'test.jsonl'},{run.parent / 'missing.jsonl'}"])
    assert status.value.code == 1
    printed = capsys.readouterr().out
    assert "2 of 3 items are done" in printed and "missing.jsonl" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config={root}/configs/eval.py:tiny", "--config.decoding=beam"], "did you mean"),
        (["--config={root}/configs/eval.py:tiny", "--config.systems=oracle"], "oracle"),
        (["--run={folder}/nothing", "--records={folder}/test.jsonl"], "nothing holds no run"),
        (["--run={folder}/stage2", "--records={folder}/missing.jsonl"], "missing.jsonl"),
        (["--run={folder}/stage2", "--records={folder}/bad.jsonl"], "none of the 1 videos"),
        (["--run={folder}/stage2", "--records={folder}/test.jsonl", "--limit=0"], "must be at least 1"),
    ],
)
def test_mistakes_are_explained(run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    lines = (run.parent / "test.jsonl").read_text(encoding="utf-8").splitlines()
    (run.parent / "bad.jsonl").write_text(lines[1] + "\n", encoding="utf-8")
    with pytest.raises(SystemExit) as status:
        evaluate.main([argument.format(folder=run.parent, root=ROOT) for argument in arguments])
    assert status.value.code == 2
    assert message in capsys.readouterr().err
