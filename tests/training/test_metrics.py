"""Numbers in files and on the terminal."""

import io
import json
import struct

import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event, SessionLog

from pvchat_jax.training.metrics import MetricsWriter, ProgressReport, Throughput, describe

METRICS = {"loss": 2.5, "lm_loss": 2.0, "spr_loss": 0.25, "hae_loss": 0.25, "active_rate": 0.51, "learning_rate": 1e-5}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder, first_step, *steps):
    writer = MetricsWriter(folder, first_step)
    for step in steps:
        writer.write(step, {"loss": step / 3})
    writer.close()


def test_numbers_are_written_exactly(tmp_path):
    write(tmp_path, 1, 1, 2)
    assert lines(tmp_path) == [{"step": 1, "loss": 1 / 3}, {"step": 2, "loss": 2 / 3}]


def test_a_run_that_went_back_has_each_step_once(tmp_path):
    write(tmp_path, 1, 1, 2, 3, 4)
    write(tmp_path, 3, 3)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path):
    write(tmp_path, 1, 1, 2)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    write(tmp_path, 3, 3)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_number_that_is_not_finite_is_not_written(tmp_path):
    writer = MetricsWriter(tmp_path, 1)
    with pytest.raises(ValueError):
        writer.write(1, {"loss": float("nan")})
    writer.close()


def read_events(path):
    """Events of a TFRecord file: length, its checksum, content, its checksum."""
    content, events = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return events


def test_tensorboard_is_told_what_was_undone_and_keeps_the_rest(tmp_path):
    write(tmp_path, 1, 1, 2, 3)
    write(tmp_path, 3, 3, 4)
    files = {path.suffix: read_events(path) for path in (tmp_path / "tensorboard").iterdir()}
    steps = {suffix: [event.step for event in events if event.HasField("summary")] for suffix, events in files.items()}
    assert steps == {".1": [1, 2, 3], ".3": [3, 4]}
    assert [event.step for event in files[".3"] if event.session_log.status == SessionLog.START] == [3]  # hides 3 of the first file


def test_rates_leave_out_the_compiling_step(monkeypatch):
    now = iter([100.0, 102.0, 106.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    throughput = Throughput(videos_per_step=8)
    assert throughput.rates(1) == {}
    throughput.start(1)
    assert throughput.rates(1) == {}
    assert throughput.rates(5) == {"steps_per_second": 2.0, "videos_per_second": 16.0, "data_wait": 0.0}
    assert throughput.rates(6)["steps_per_second"] == 0.25


def test_waiting_for_data_is_reported_and_shown_where_it_matters(monkeypatch):
    now = iter([100.0, 101.0, 103.0, 104.0, 106.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    throughput = Throughput(videos_per_step=8)
    throughput.start(1)
    with throughput.waiting_for_data():
        pass
    rates = throughput.rates(2)
    assert rates["data_wait"] == 0.5
    assert "50% of the time waiting for data" in describe({**METRICS, **rates})
    assert throughput.rates(3)["data_wait"] == 0.0
    assert "waiting" not in describe({**METRICS, "steps_per_second": 1.0, "data_wait": 0.01})


def test_a_log_file_gets_plain_lines_with_everything_that_matters():
    output = io.StringIO()
    progress = ProgressReport(Console(file=output, width=40), 0, 3600)
    progress.show(20, {**METRICS, "steps_per_second": 0.5})
    progress.close()
    shown = output.getvalue().splitlines()
    assert shown[-1] == "step 20/3600  loss 2.5 (lm 2 + spr 0.25 + hae 0.25)  active 51%  lr 1e-05  0.5 steps/s  1:59:20 left"
    assert "\x1b" not in output.getvalue()


def test_a_terminal_gets_a_bar():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=200)
    progress = ProgressReport(console, 5, 10)
    progress.advance(7)
    progress.show(7, METRICS)
    progress.close()
    assert "7/10" in output.getvalue()
    assert describe(METRICS) in output.getvalue()
