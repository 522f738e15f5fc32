"""How far the whole grid is, and how long it still takes: a bar on a terminal, and plain lines now and then elsewhere."""

import datetime
import time

import rich.progress
from rich.console import Console

_REPORT_SECONDS = 30.0


class SweepProgress:
    """Counts this process's units over all items; those of others take as long.

    Args:
      console: quiet on all processes but the first.
      total: units of all items that are not finished.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0
        self._shown_at = time.monotonic()
        self._first: tuple[int, float] | None = None  # how many units were done at first, and when
        self._what = ""
        columns = (
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=20),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        self._bar = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=600)
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def begin(self, what: str) -> None:
        """`what` is being done from now on, such as one of the items."""
        self._what = what
        self._bar.update(self._task, description=what)

    def advance(self, units: int) -> None:
        """So many more units are done, or will never be."""
        if units == 0:
            return
        self._done += units
        self._bar.update(self._task, completed=self._done)
        now = time.monotonic()
        self._first = self._first or (self._done, now)
        if not self._console.is_terminal and (now - self._shown_at >= _REPORT_SECONDS or self._done == self._total):
            self.say(f"{self._done}/{self._total} units of the whole sweep  {self._left(now)}  {self._what}")
            self._shown_at = now

    def _left(self, now: float) -> str:
        """How long the other units take, as long as those since the first, before which videos were read and programs compiled."""
        done, began = self._first or (self._done, now)
        if self._done == done:
            return "none left" if self._done == self._total else "? left"
        return f"{datetime.timedelta(seconds=round((self._total - self._done) * (now - began) / (self._done - done)))} left"
