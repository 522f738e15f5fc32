"""How far a long conversion is, in bytes: done, rate and time left."""

import time
from types import TracebackType

import rich.progress
from rich.console import Console
from rich.filesize import decimal

SECONDS_BETWEEN_LINES = 30.0


class ByteProgress:
    """A bar on a terminal; elsewhere a plain line now and then. To be entered with `with`."""

    def __init__(self, console: Console, label: str, total: int) -> None:
        columns = (
            rich.progress.TextColumn(label, markup=False),
            rich.progress.BarColumn(bar_width=20),
            rich.progress.DownloadColumn(),
            rich.progress.TransferSpeedColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        self._console, self._label, self._total, self._done = console, label, total, 0
        self._bar = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=60)
        self._task = self._bar.add_task("", total=total)
        self._began = self._shown_at = time.monotonic()

    def __enter__(self) -> "ByteProgress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, num_bytes: int) -> None:
        """`num_bytes` more are done."""
        self._done += num_bytes
        self._bar.advance(self._task, num_bytes)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._shown_at = now
            rate = self._done / (now - self._began)
            left = (self._total - self._done) / rate
            self._console.print(
                f"{self._label} {decimal(self._done)} of {decimal(self._total)}, {decimal(int(rate))}/s, {left:.0f} s left", highlight=False
            )
