"""The training command as users meet it."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

from pvchat_jax import sharding, train
from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.training import loop
from pvchat_jax.training.loop import Interrupted
from pvchat_jax.training.metrics import MetricsWriter
from tests.distributed.processes import numbers
from tests.training.stand_in_run import OVERRIDES, stand_in_model, write_records


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records"))


def arguments(records: Path, output: Path, *more: str, stage: int = 1) -> list[str]:
    settings = {
        "data.train": records,
        "output_dir": output,
        "data.batch_size": 2,
        "data.questions_per_video": 1,
        "optimizer.warmup_steps": 2,
        "mesh.data": 1,
        "log_every": 1,
        "checkpoint.every_steps": 3,
    }
    given = [f"--config.{name}={value}" for name, value in settings.items()]
    return [f"--config=configs/stage{stage}.py:tiny", *given, *more]


def fail(capsys, *given: str) -> str:
    with pytest.raises(SystemExit) as caught:
        train.main(list(given))
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1 and "Traceback" not in message
    return message


def test_mistakes_are_one_line_on_stderr(capsys, records, tmp_path):
    assert "config.optimizer.lora" in fail(capsys, *arguments(records, tmp_path / "run", "--config.lora=1"))
    assert "converters.from_torch" in fail(capsys, "--config=configs/stage1.py:8b")
    cut = tmp_path / "train.jsonl"
    cut.write_text(records.read_text()[:-20])
    message = fail(capsys, *arguments(cut, tmp_path / "run"))
    assert str(cut) in message and "line 6" in message
    message = fail(capsys, *arguments(records, tmp_path / "run", "--config.model.language_model.vocab_size=48"))
    assert "has 680 tokens and the model 48" in message
    assert not (tmp_path / "run/config.json").exists()  # a run that never began binds nobody


class Finished(NamedTuple):
    """A run of four steps that is over, with a video that could not be read."""

    records: Path
    output: Path
    given: list[str]
    shown: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    records = write_records(folder)
    (folder / "0.mp4").write_bytes(b"no video")
    rates = ("--config.optimizer.lora=0", "--config.optimizer.subject_tokens=0.0123")
    given = arguments(records, folder / "run", *OVERRIDES, "--config.num_steps=4", *rates)
    with stand_in_model(), mock.patch.dict(os.environ, COLUMNS="300"), contextlib.redirect_stdout(io.StringIO()) as shown:
        train.main(given)
    return Finished(records, folder / "run", given, shown.getvalue())


def test_a_run_says_what_it_does_and_where_everything_is(finished):
    for part in (
        "train subject_tokens",
        "learning rate 0.0123",
        "frozen",
        "data 1, fsdp 1, tensor 1",
        "2 videos x 1 question of",
        "5: 3 with <Wilson>, 2 without",
        "existence: 6 present, 4 absent",
        "1 video cannot be read",
        str(finished.records.parent / "0.mp4"),
        "step 4/4",
        f"finished step 4: checkpoints in {finished.output / 'checkpoints'}",
        str(finished.output / "metrics.jsonl"),
    ):
        assert part in finished.shown, part
    assert "train lora" not in finished.shown
    assert sorted(path.name for path in finished.output.iterdir()) == ["checkpoints", "config.json", "metrics.jsonl", "tensorboard"]


def test_the_next_stage_can_run_in_the_same_process_and_builds_on_the_first(capsys, records, finished, tmp_path):
    more = ("--config.num_steps=3", f"--config.init_from={finished.output}", "--config.data.num_frames=2")
    with stand_in_model():
        output = train.run(parse_command_line(arguments(records, tmp_path / "run", *OVERRIDES, *more, stage=2), description=""))
    assert f"tensors from step 4 of {finished.output}" in capsys.readouterr().out
    assert [line["step"] for line in numbers(output)] == [1, 2, 3]
    assert numbers(output)[0]["loss"] < numbers(finished.output)[0]["loss"]  # it did not begin anew


def test_other_records_do_not_continue_a_run(capsys, finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.records.parent, folder)
    given = [argument.replace(str(finished.records.parent), str(folder)) for argument in finished.given]
    config = folder / "run/config.json"
    config.write_text(config.read_text().replace(str(finished.records.parent), str(folder)))
    (folder / "train.jsonl").write_text("".join(finished.records.read_text().splitlines(keepends=True)[:-1]))
    with stand_in_model():
        message = fail(capsys, *given)
    assert "made with records 5 videos with 10 questions" in message and "this run has 4 videos with 8 questions" in message


def test_an_interrupted_run_says_how_to_continue(capsys, monkeypatch, records, tmp_path):
    def stop(config):
        raise Interrupted(signal.SIGTERM, 7)

    monkeypatch.setattr(train, "run", stop)
    given = arguments(records, tmp_path / "run", "--config.data.subject=<Wilson>")
    with pytest.raises(SystemExit) as caught:
        train.main(given)
    assert caught.value.code == 128 + signal.SIGTERM
    shown = capsys.readouterr().err
    assert "stopped by SIGTERM at step 7; continue with: python -m pvchat_jax.train --config=configs/stage1.py:tiny" in shown
    assert "'--config.data.subject=<Wilson>'" in shown


def test_a_run_continues_on_another_mesh_with_the_same_batches(monkeypatch, records, tmp_path):
    batches: dict[str, list[np.ndarray]] = {"whole": [], "parts": []}

    def go_on(name: str, **mesh: int) -> None:
        def put_batch(batch, mesh):
            batches[name].append(batch["input_ids"])
            return sharding.put_batch(batch, mesh)

        sizes = [f"--config.mesh.{axis}={size}" for axis, size in mesh.items()]
        given = arguments(records, tmp_path / name, *OVERRIDES, "--config.data.batch_size=4", "--config.num_steps=8", *sizes)
        monkeypatch.setattr(loop, "put_batch", put_batch)
        with stand_in_model():
            train.run(parse_command_line(given, description=""))

    write = MetricsWriter.write

    def write_and_stop(self: MetricsWriter, step: int, metrics) -> None:
        write(self, step, metrics)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    go_on("whole")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(MetricsWriter, "write", write_and_stop)
        go_on("parts")
    saved = len(batches["parts"])
    assert 3 <= saved < 8
    go_on("parts", data=2, fsdp=2, tensor=2)
    np.testing.assert_array_equal(batches["parts"], batches["whole"])
    whole, parts = numbers(tmp_path / "whole"), numbers(tmp_path / "parts")
    assert whole[saved:] != parts[saved:]  # sums in another order: it was another mesh
    for wanted, got in zip(whole, parts, strict=True):
        assert got == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def kill_and_compare(tmp_path: Path, module: str, given: list[str]) -> None:
    """Runs `module` once whole, once killed at step 7 and started again; both must have written the same numbers."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = {**os.environ, **cache, "XLA_FLAGS": ""}

    def start(output: str, **extra: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *given, f"--config.output_dir={tmp_path / output}"]
        return subprocess.run(command, env={**environment, **extra}, capture_output=True, text=True, check=False)

    whole = start("whole")
    assert whole.returncode == 0, whole.stderr
    killed = start("parts", DIE_AT_STEP="7")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert numbers(tmp_path / "parts")[-1]["step"] == 7
    again = start("parts")
    assert again.returncode == 0, again.stderr
    # The save of step 6 may have been cut short; it began when that of step 3 was complete.
    assert re.search("continuing from step [36] ", again.stdout)
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")
    assert len({line["loss"] for line in numbers(tmp_path / "whole")}) == 8


def test_a_killed_run_continues_bit_for_bit(records, tmp_path):
    given = arguments(records, tmp_path, *OVERRIDES, "--config.num_steps=8")
    kill_and_compare(tmp_path, "tests.training.stand_in_run", given)
