"""Trackers beside TensorBoard, whose own tests are those of training's numbers."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvchat_jax.config.tracking_schema import TrackingConfig
from pvchat_jax.errors import UserError
from pvchat_jax.tracking.trackers import open_trackers

SETTINGS = {"optimizer.lora": 1e-5, "data.subject": "<Wilson>"}


def write(folder: Path, tracker: str, *steps: int) -> None:
    for opened in open_trackers(TrackingConfig(trackers=(tracker,)), folder, steps[0], SETTINGS):
        for step in steps:
            opened.write(step, {"loss": 1 / step, "active_rate/6.self": 0.5})
        opened.close()


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=rf"pvchat_jax\[{name}\]"):
            write(tmp_path, name, 1)


def test_unknown_trackers_are_refused() -> None:
    with pytest.raises(ValueError, match="aim"):
        TrackingConfig(trackers=("aim",))


def wandb_numbers(folder: Path) -> list[dict[str, float]]:
    """What `wandb sync` would send, over all starts: one dict for each step."""
    from wandb.proto.wandb_internal_pb2 import Record

    lines = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime):
        for data in leveldb_records(path.read_bytes()[7:]):  # after the name and version of the format
            record = Record.FromString(data)
            if record.HasField("history"):
                items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
                lines.append({"step": items["_step"]} | {name: items[name] for name in ("loss", "active_rate/6.self")})
    return lines


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's format: each piece has a checksum, its length, and whether it is the first or last of a record."""
    position, record = 0, b""
    while position + 7 <= len(content):
        length, kind = struct.unpack("<HB", content[position + 4 : position + 7])
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""
        if 32768 - (position + 7) % 32768 < 7:  # a block's end is too short for a header
            position += 32768 - (position + 7) % 32768


def test_wandb_keeps_the_numbers_on_the_disk_and_a_run_that_continues_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # what the configuration says counts
    write(tmp_path, "wandb", 1, 2)
    first = json.loads((tmp_path / "tracking.json").read_text())
    write(tmp_path, "wandb", 3)
    assert json.loads((tmp_path / "tracking.json").read_text()) == first
    # offline-run-TIME-ID, and a number after that if both began in the same second
    assert {path.name.split("-")[3] for path in tmp_path.glob("wandb/offline-run-*")} == {first["wandb"]}
    assert wandb_numbers(tmp_path) == [{"step": step, "loss": pytest.approx(1 / step), "active_rate/6.self": 0.5} for step in (1, 2, 3)]


@pytest.mark.slow
def test_mlflow_keeps_numbers_and_settings_in_its_database(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    write(tmp_path, "mlflow", 1, 2)
    write(tmp_path, "mlflow", 3)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("pvchat_jax").experiment_id])
    assert run.data.params == {"optimizer.lora": "1e-05", "data.subject": "<Wilson>"} and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, pytest.approx(1 / step)) for step in (1, 2, 3)]
    assert run.data.metrics["active_rate/6.self"] == 0.5
