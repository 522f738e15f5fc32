"""How far indexing is, in hours of video."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Hours(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / 3600:.2f} of {(task.total or 0) / 3600:.2f} h", style="progress.download")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} hours of video per hour" if task.speed else "", style="progress.data.speed")


class IndexingBar:
    """An `indexing.Progress` on `console`: hours done, rate and time left; on a file instead of a terminal, a line for each video."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("indexing"), BarColumn(), _Hours(), _Rate(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task("", total=None)
        self._last = ""

    def __enter__(self) -> "IndexingBar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, video: str, done: float, total: float) -> None:
        self._bar.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and video != self._last:
            line = f"indexing {video} ({done / 3600:.2f} of {total / 3600:.2f} h done)"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._last = video
