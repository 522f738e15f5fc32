"""Building a world with a bar that shows the rate and the time left."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pvchat_jax.world.build import WorldPaths, build_world


class _Rate(ProgressColumn):
    """Videos per second of this start, which the kept videos of an earlier one do not flatter."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} videos/s" if task.speed else "", style="progress.data.speed")


@contextlib.contextmanager
def video_bar(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar named `title` on `console`; it is moved by what is given, a function of how many videos are done and how many there are."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            if bar.tasks[task].total is None:  # a new start of the clock, after what was kept
                bar.reset(task, total=total, completed=done)
            bar.update(task, completed=done)

        yield show


def build_with_bar(console: Console, title: str, out_dir: Path, **settings: Any) -> WorldPaths:
    """`build_world(out_dir, **settings)` with a bar named `title` on `console`."""
    with video_bar(console, title) as show:
        return build_world(out_dir, progress=show, **settings)
