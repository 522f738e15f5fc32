"""Reading of training curves."""

import json
from pathlib import Path

from pvchat_jax.evaluation.curves import curve_keys, read_curves


def test_reads_the_asked_keys_in_order_of_steps(tmp_path: Path) -> None:
    lines = [{"step": 20, "loss": 1.5, "lr": 1}, {"step": 10, "loss": 2.5, "active_rate": 0.5}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curves = read_curves(tmp_path / "metrics.jsonl", ("loss", "lm_loss", "active_rate"))
    assert {curve.name: curve.points for curve in curves} == {"loss": [(10, 2.5), (20, 1.5)], "active_rate": [(10, 0.5)]}


def test_restarts_and_interruptions_leave_no_trace(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 10, "loss": 9}\n{"step": 20, "loss": NaN}\nnonsense\n{"step": 10, "loss": 3}\n{"step": 30, "lo'
    )
    assert [curve.points for curve in read_curves(tmp_path / "metrics.jsonl", ("loss",))] == [[(10, 3)]]


def test_a_run_without_metrics_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "metrics.jsonl", ("loss",)) == []


def test_keys_name_each_module_as_training_does() -> None:
    assert {"active_rate/1.self", "active_rate/1.cross", "spr_coefficient/1.self"} <= set(curve_keys(["1.self", "1.cross"]))
