"""What a sweep says about the time that is left."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from pvchat_jax.sweeps import progress


def test_reading_and_compiling_do_not_count_as_time_that_every_unit_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 131.0])  # at the start, and after the first and the third unit
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    console = Console(file=io.StringIO(), width=200)
    shown = progress.SweepProgress(console, 5)
    shown.begin("<Wilson> base")
    shown.advance(1)
    shown.advance(2)
    lines = console.file.getvalue().splitlines()
    assert lines == ["1/5 units of the whole sweep  ? left  <Wilson> base", "3/5 units of the whole sweep  0:00:31 left  <Wilson> base"]
