"""What was found as JSON, CSV and WebVTT. All times are in seconds since the container's clock started, as players show them."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.files import write_atomically
from pvchat_jax.timeline.clock import clock_text
from pvchat_jax.timeline.index import printable
from pvchat_jax.timeline.search import Found, Timeline

_LONGEST_NAME = 200  # bytes; what is added has to fit into what file systems allow
COLUMNS = ("video", "subject", "start", "end", "probability", "best", "start_text", "end_text")


def to_json(found: Found) -> dict[str, Any]:
    """Everything but the pictures: videos with their intervals, and files that could not be read."""
    return {
        "videos": [
            {
                "path": printable(of_video[0].path),
                "start": _rounded(of_video[0].start),
                "end": _rounded(of_video[0].end),
                "clock_start": _rounded(of_video[0].clock_start),
                "notes": list(of_video[0].notes),
                "intervals": [
                    {
                        "subject": timeline.name,
                        "start": _rounded(interval.start),
                        "end": _rounded(interval.end),
                        "probability": _rounded(interval.probability),
                        "best": _rounded(interval.best),
                    }
                    for timeline in of_video
                    for interval in timeline.intervals
                ],
            }
            for of_video in by_video(found.timelines)
        ],
        "unreadable": [{"path": printable(path), "reason": reason} for path, reason in found.unreadable],
        "windows_encoded": found.num_encoded,
    }


def to_csv(found: Found) -> str:
    """One row for each interval, with `COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for timeline in found.timelines:
        for interval in timeline.intervals:
            numbers = (interval.start, interval.end, interval.probability, interval.best)
            times = (clock_text(interval.start, milliseconds=True), clock_text(interval.end, milliseconds=True))
            writer.writerow((printable(timeline.path), timeline.name, *map(_rounded, numbers), *times))
    return text.getvalue()


def to_webvtt(timelines: Sequence[Timeline]) -> str:
    """Subtitles of one video that name who is seen, for players; of one or several people."""
    blocks = ["WEBVTT"]
    intervals = [(interval, timeline.name) for timeline in timelines for interval in timeline.intervals]
    for interval, name in sorted(intervals, key=lambda found: (found[0].start, found[0].end)):
        start, end = (clock_text(time, milliseconds=True) for time in (interval.start, interval.end))
        if start < end:
            blocks.append(f"{start} --> {end}\n{_cue_text(name)} {interval.probability:.0%}")
    return "\n\n".join(blocks) + "\n"


def write_files(folder: Path, found: Found) -> list[Path]:
    """Writes `timeline.json`, `timeline.csv` and for each video a WebVTT file; returns their paths."""
    contents = {"timeline.json": json.dumps(to_json(found), ensure_ascii=False, indent=2) + "\n", "timeline.csv": to_csv(found)}
    videos = list(by_video(found.timelines))
    for name, timelines in zip(_names([timelines[0].path for timelines in videos]), videos, strict=True):
        contents[name] = to_webvtt(timelines)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def by_video(timelines: Iterable[Timeline]) -> Iterator[list[Timeline]]:
    """The timelines of each video together."""
    together: dict[Path, list[Timeline]] = {}
    for timeline in timelines:
        together.setdefault(timeline.path, []).append(timeline)
    yield from together.values()


def _names(paths: Sequence[Path]) -> Iterator[str]:
    """A file name for each video: its own, and a number where several folders have the same."""
    used: Counter[str] = Counter()
    for path in paths:
        name = printable(path.name).encode()[:_LONGEST_NAME].decode(errors="ignore")
        used[name] += 1
        yield f"{name}.vtt" if used[name] == 1 else f"{name}.{used[name]}.vtt"


def _cue_text(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def _rounded(number: float) -> float:
    return round(number, 4)
