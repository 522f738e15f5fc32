"""How far the synthesis is, on a terminal or in a log, and the one question that it may have."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.people.finding import Found
from pvchat_jax.synthesis.stages import StageStore


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


class ProgressReport:
    """`pipeline.Report` on `console`: a bar for each stage, with its rate and the time left."""

    def __init__(self, console: Console, store: StageStore) -> None:
        self._console, self._store = console, store
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._bars = Progress(*columns, console=console)

    def __enter__(self) -> "ProgressReport":
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> Callable[[], None]:
        """A new bar of `total` pieces; the result moves it on by one."""
        task = self._bars.add_task(name, total=total)
        return lambda: self._bars.advance(task)

    def of_total(self, name: str) -> Callable[[int, int], None]:
        """A new bar, which is moved to a number of finished pieces of a total."""
        task = self._bars.add_task(name, total=None)
        return lambda done, total: self._bars.update(task, completed=done, total=total)

    def choose(self, found: Found, sheet: Path) -> int | None:
        """Asks, where somebody can answer."""
        if not sys.stdin.isatty():
            return None
        self._bars.stop()
        self._console.print(f"{len(found.people)} people are in the video; {sheet} shows them.", markup=False, highlight=False)
        answer = self._console.input("Which of them is the subject, by number? ").strip()
        self._bars.start()
        if not answer.isdecimal():
            raise UserError(f"'{answer}' is no number of a person; start again, or pass --person=K.")
        return int(answer)

    def show_throughput(self) -> None:
        """What each stage made, what it found from before, and how fast it was."""
        table = Table("stage", "made", "found", "seconds", "per second", title="what this run did", title_justify="left")
        for stage, tally in self._store.tallies.items():
            rate = f"{tally.made / tally.seconds:.2f}" if tally.seconds else ""
            table.add_row(stage, str(tally.made), str(tally.found), f"{tally.seconds:.1f}", rate)
        self._console.print(table)
