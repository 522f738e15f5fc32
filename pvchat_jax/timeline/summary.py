"""What was found, on a terminal."""

from rich.console import Console
from rich.table import Table

from pvchat_jax.timeline.clock import clock_text
from pvchat_jax.timeline.index import printable
from pvchat_jax.timeline.outputs import by_video
from pvchat_jax.timeline.search import Found


def show_found(found: Found, console: Console) -> None:
    """Prints a table of the intervals, and what is wrong with which video."""
    table = Table("video", "who", "from", "to", "probability")
    for timelines in by_video(found.timelines):
        for timeline in timelines:
            for interval in timeline.intervals:
                times = clock_text(interval.start), clock_text(interval.end)
                table.add_row(printable(timeline.path.name), timeline.name, *times, f"{interval.probability:.0%}")
    people = ", ".join(dict.fromkeys(timeline.name for timeline in found.timelines))
    console.print(table if table.row_count else f"{people or 'Nobody'} was not found in {len(list(by_video(found.timelines)))} videos.")
    for timelines in by_video(found.timelines):
        for note in timelines[0].notes:
            console.print(f"note: {printable(timelines[0].path)} {note}.")
    for _, reason in found.unreadable:
        console.print(f"not read: {reason}")
