"""What a run reports while it trains: a JSON Lines file, TensorBoard scalars and a line or bar on the terminal."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rich.progress
from rich.console import Console

from pvchat_jax.config.tracking_schema import TrackingConfig
from pvchat_jax.files import write_atomically
from pvchat_jax.tracking.trackers import open_trackers

METRICS_FILE = "metrics.jsonl"
LOSS_PARTS = ("lm_loss", "spr_loss", "hae_loss", "balance_loss", "slot_loss")  # the order in which they are shown

_NOTEWORTHY_WAIT = 0.02


class MetricsWriter:
    """Writes `metrics.jsonl` into a run's directory, and the same numbers to TensorBoard and the other trackers.

    Lines, and TensorBoard's scalars, of steps after `first_step - 1` are dropped, so a run that went back to a checkpoint
    has each step once. A last line that a crash cut short is dropped too.

    Args:
      first_step: the step (counted from 1) that will be written next.
      tracking: the other trackers. settings: of the run, by dotted name, for these.
    """

    def __init__(
        self, directory: Path, first_step: int, tracking: TrackingConfig | None = None, settings: Mapping[str, Any] | None = None
    ) -> None:
        path = Path(directory) / METRICS_FILE
        if path.is_file():
            write_atomically(path, "".join(_lines_before(path, first_step)))
        self._file = path.open("a", encoding="utf-8")
        self._trackers = open_trackers(tracking or TrackingConfig(), Path(directory), first_step, settings or {})

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line `{"step": ..., ...}`; every number must be finite."""
        self._file.write(json.dumps({"step": step, **metrics}, allow_nan=False) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.write(step, metrics)

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._file.close()
        for tracker in self._trackers:
            tracker.close()


def _lines_before(path: Path, first_step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            continue
        if step < first_step:
            kept.append(line + "\n")
    return kept


class Throughput:
    """Steps and videos per second since the last call; the first step, which compiles, is left out."""

    def __init__(self, videos_per_step: int) -> None:
        self._videos_per_step = videos_per_step
        self._since: tuple[float, int] | None = None
        self._waited = 0.0  # seconds for data since then

    def start(self, step: int) -> None:
        """Counts from here: `step` steps are done."""
        self._since = (time.monotonic(), step)
        self._waited = 0.0

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """What runs inside is time that the input pipeline made the loop wait."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def rates(self, step: int) -> dict[str, float]:
        """`steps_per_second` and `videos_per_second` (global) since the last call, and `data_wait`, the share of the time in
        `waiting_for_data`; empty where nothing was measured."""
        if self._since is None or step <= self._since[1]:
            return {}
        now = time.monotonic()
        seconds = max(now - self._since[0], 1e-9)
        rate, data_wait = (step - self._since[1]) / seconds, self._waited / seconds
        self._since, self._waited = (now, step), 0.0
        return {"steps_per_second": rate, "videos_per_second": rate * self._videos_per_step, "data_wait": data_wait}


class ProgressReport:
    """A bar on a terminal; elsewhere, such as in a log file, one plain line at a time.

    Args:
      first_step: steps already done.
      total_steps: of the whole run.
    """

    def __init__(self, console: Console, first_step: int, total_steps: int) -> None:
        self._console = console
        self._total = total_steps
        self._bar: rich.progress.Progress | None = None
        if not console.is_terminal:
            self._print("compiling the first step")
        else:
            columns = (
                rich.progress.BarColumn(bar_width=20),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[text]}", markup=False),
                rich.progress.TimeRemainingColumn(),
            )
            self._bar = rich.progress.Progress(*columns, console=console, speed_estimate_period=120)
            self._task = self._bar.add_task("", total=total_steps, completed=first_step, text="compiling the first step")
            self._bar.start()

    def advance(self, step: int) -> None:
        """`step` steps are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows the metrics of `step`."""
        text = describe(metrics)
        if self._bar is not None:
            self._bar.update(self._task, text=text)
            return
        rate = metrics.get("steps_per_second")
        left = f"  {_duration((self._total - step) / rate)} left" if rate else ""
        self._print(f"step {step}/{self._total}  {text}{left}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def describe(metrics: Mapping[str, float]) -> str:
    """The metrics that a reader watches, such as `loss 2.3 (lm 2.2 + spr 0.04 + hae 0.06)  active 51%  lr 1e-05  0.8 steps/s`."""
    parts = " + ".join(f"{name.removesuffix('_loss')} {metrics[name]:.4g}" for name in LOSS_PARTS if name in metrics)
    pieces = [f"loss {metrics['loss']:.4g}{f' ({parts})' if parts else ''}"]
    if "active_rate" in metrics:
        pieces.append(f"active {metrics['active_rate']:.0%}")
    pieces.append(f"lr {metrics['learning_rate']:.2g}")
    if "steps_per_second" in metrics:
        pieces.append(f"{metrics['steps_per_second']:.3g} steps/s")
    if metrics.get("data_wait", 0.0) >= _NOTEWORTHY_WAIT:
        pieces.append(f"{metrics['data_wait']:.0%} of the time waiting for data")
    return "  ".join(pieces)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
