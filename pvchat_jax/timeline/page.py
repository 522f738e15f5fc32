"""A page that needs nothing but itself: a strip of each video with what was found in it, and a picture of each interval."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation import html_report
from pvchat_jax.evaluation.markup import Section, note, text
from pvchat_jax.timeline.clock import clock_text
from pvchat_jax.timeline.index import printable
from pvchat_jax.timeline.intervals import Interval, slices_of
from pvchat_jax.timeline.outputs import by_video
from pvchat_jax.timeline.reading import frame_at
from pvchat_jax.timeline.search import Found, Timeline

_PICTURE = (320, 240)  # pixels, at most
_WIDTH, _HEIGHT = 1000, 48  # of a strip, in units
_FEWEST_UNITS = 3  # so that a short interval of a long video is seen

ReadFrame = Callable[[Path, float], np.ndarray]


def write_page(path: Path, found: Found, read_frame: ReadFrame = frame_at) -> None:
    """Writes the page.

    Args:
      path: of the `.html` file. read_frame: gives the picture at a time of a video, uint8[H, W, 3].
    """
    names = list(dict.fromkeys(timeline.name for timeline in found.timelines))
    videos = list(by_video(found.timelines))
    shown = [timelines for timelines in videos if any(timeline.intervals for timeline in timelines)]
    sections = [_video_section(number, timelines, read_frame) for number, timelines in enumerate(shown, start=1)]
    sections += [section for section in (_without(videos), _unreadable(found)) if section is not None]
    hours = sum(timelines[0].end - timelines[0].start for timelines in videos) / 3600
    people = " and ".join(names)
    facts = (
        f"{len(videos)} videos, {hours:.2f} hours. Times are as players show them. "
        "In a strip the line is the probability, and bars are what was found."
    )
    title = f"When {people} {'is' if len(names) == 1 else 'are'} seen"
    html_report.write_page(path, title, facts, sections, verdict=tuple(_verdict(found)))


def _verdict(found: Found) -> Iterator[str]:
    for name in dict.fromkeys(timeline.name for timeline in found.timelines):
        intervals = [interval for timeline in found.timelines if timeline.name == name for interval in timeline.intervals]
        seconds = sum(interval.end - interval.start for interval in intervals)
        yield f"{name} is seen {_times(len(intervals))}, for {clock_text(seconds)} in all." if intervals else f"{name} is not seen."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _video_section(number: int, timelines: Sequence[Timeline], read_frame: ReadFrame) -> Section:
    anchor = f"video_{number}"
    first = timelines[0]
    parts = [note(f"{printable(first.path)}, {clock_text(first.start)} to {clock_text(first.end)}.", *_sentences(first.notes))]
    for row, timeline in enumerate(timelines):
        cards = [f"{anchor}_{row}_{index}" for index in range(len(timeline.intervals))]
        parts.append(f"<h3>{text(timeline.name)}</h3>{_strip(timeline, cards)}")
        articles = (_card(timeline, interval, card, read_frame) for card, interval in zip(cards, timeline.intervals, strict=True))
        parts.append(f'<div class="cards">{"".join(articles)}</div>')
    return Section(anchor, printable(first.path.name), "".join(parts))


def _sentences(notes: Sequence[str]) -> Iterator[str]:
    return (f"The video {words}." for words in notes)


def _strip(timeline: Timeline, cards: Sequence[str]) -> str:
    """An SVG element: the probability over time as a line, and the intervals as bars that lead to their pictures."""
    seconds = max(timeline.end - timeline.start, 1e-9)

    def x(time: float) -> float:
        return _WIDTH * min(1.0, max(0.0, (time - timeline.start) / seconds))

    bars = []
    for card, interval in zip(cards, timeline.intervals, strict=True):
        width = max(_FEWEST_UNITS, x(interval.end) - x(interval.start))
        label = text(f"{clock_text(interval.start)} to {clock_text(interval.end)}, {interval.probability:.0%}")
        place = f'x="{x(interval.start):.1f}" width="{width:.1f}" height="{_HEIGHT}"'
        rectangle = f'<rect class="bar" {place}><title>{label}</title></rect>'
        bars.append(f'<a href="#{card}" aria-label="{label}">{rectangle}</a>')
    points = []
    for piece in slices_of(timeline.windows):
        height = _HEIGHT - 2 - (_HEIGHT - 4) * piece.probability
        points += [f"{x(piece.start):.1f},{height:.1f}", f"{x(piece.end):.1f},{height:.1f}"]
    axis = f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_HEIGHT - 1}" y2="{_HEIGHT - 1}"/>'
    label = text(f"{timeline.name} from {clock_text(timeline.start)} to {clock_text(timeline.end)}: {_times(len(timeline.intervals))}")
    line = f'<polyline class="curve colour-1" vector-effect="non-scaling-stroke" points="{" ".join(points)}"/>'
    shape = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" style="height: 3rem"'  # as high on a phone
    ends = note(f"{clock_text(timeline.start)} is at the left end, {clock_text(timeline.end)} at the right.")
    return f'<svg {shape} role="group" aria-label="{label}">{axis}{"".join(bars)}{line}</svg>{ends}'


def _card(timeline: Timeline, interval: Interval, anchor: str, read_frame: ReadFrame) -> str:
    times = f"{clock_text(interval.start)} to {clock_text(interval.end)}"
    try:
        picture = Image.fromarray(read_frame(timeline.path, interval.best))
        picture.thumbnail(_PICTURE)
        alt = text(f"{printable(timeline.path.name)} at {clock_text(interval.best)}")
        shown = f'<img alt="{alt}" width="{picture.width}" height="{picture.height}" src="{_data_uri(picture)}">'
    except UserError:
        shown = note("The video can no longer be read.")
    exact = f"{interval.start:.2f} to {interval.end:.2f} s, picture of {interval.best:.2f} s"
    return (
        f'<article class="card" id="{anchor}">{shown}<p><b>{times}</b></p>'
        f'<p class="about">probability {interval.probability:.0%}, {text(exact)}</p></article>'
    )


def _data_uri(picture: Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _without(videos: Sequence[Sequence[Timeline]]) -> Section | None:
    items = [timelines[0] for timelines in videos if not any(timeline.intervals for timeline in timelines)]
    listed = "".join(f"<li>{text(' '.join([printable(item.path) + '.', *_sentences(item.notes)]))}</li>" for item in items)
    return Section("without", f"Nobody found ({len(items)})", f"<ul>{listed}</ul>") if items else None


def _unreadable(found: Found) -> Section | None:
    listed = "".join(f"<li>{text(reason)}</li>" for _, reason in found.unreadable)
    return Section("unreadable", f"Could not be read ({len(found.unreadable)})", f"<ul>{listed}</ul>") if found.unreadable else None
