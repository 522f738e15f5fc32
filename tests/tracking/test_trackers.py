"""Trackers beside TensorBoard, whose own tests are those of training's numbers."""

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
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(UserError, match=rf"pvchat_jax\[{name}\]"):
            write(tmp_path, name, 1)


def test_unknown_trackers_are_refused() -> None:
    with pytest.raises(ValueError, match="aim"):
        TrackingConfig(trackers=("aim",))
