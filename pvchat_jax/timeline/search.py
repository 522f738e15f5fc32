"""When people are seen in videos: `find` for the intervals of one person in one video, `search` for all that there is to show."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.assistant.videos import Watched
from pvchat_jax.registry.names import bare
from pvchat_jax.registry.registry import Registry
from pvchat_jax.timeline.index import Index, KnownWindow, person_key
from pvchat_jax.timeline.indexing import IndexedVideo, Progress, Unreadable, index_videos
from pvchat_jax.timeline.intervals import Interval, IntervalOptions, ScoredWindow, intervals_of
from pvchat_jax.timeline.viewing import Person, Viewing, Watcher, person_of, viewing_of

DEFAULT_INDEX = Path("data", "timeline.sqlite")
WINDOW_SECONDS = 2.0  # as long as the clips that people are learnt from
DEFAULT_OPTIONS = IntervalOptions.of_windows(WINDOW_SECONDS)
_WINDOWS_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Timeline:
    """A person in a video; all times are in seconds since the container's clock started.

    Attributes:
      path: of the video. name: of the person, without angle brackets.
      start: time of the first frame. end: until when the last one is on screen.
      windows: what is said about each window, in order.
      intervals: when the person is seen.
      notes: what is wrong with the video, such as a damaged end.
      clock_start: what the container's clock shows at time 0.
    """

    path: Path
    name: str
    start: float
    end: float
    windows: tuple[ScoredWindow, ...]
    intervals: tuple[Interval, ...]
    notes: tuple[str, ...]
    clock_start: float


class Found(NamedTuple):
    """What a search found.

    Attributes:
      timelines: video by video, and within each person by person.
      unreadable: files that could not be looked at.
      num_encoded: windows that were new. num_gone: files that left the index.
    """

    timelines: tuple[Timeline, ...]
    unreadable: tuple[Unreadable, ...]
    num_encoded: int
    num_gone: int


def find(watcher: Watcher, registry: Registry, video: Path, name: str, index_path: Path = DEFAULT_INDEX) -> list[Interval]:
    """When a person is seen in a video; the video is indexed if it is not yet. `search` gives the probabilities of windows, too.

    Raises:
      UserError: the video cannot be read, or as `search`.
    """
    found = search(video, [person_of(registry, name)], watcher, viewing_of(registry, WINDOW_SECONDS), index_path)
    return [interval for timeline in found.timelines for interval in timeline.intervals]


def search(
    place: Path,
    people: Sequence[Person],
    watcher: Watcher,
    viewing: Viewing,
    index_path: Path,
    options: IntervalOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> Found:
    """Looks for people in a video, or in all videos of a folder, and keeps what was encoded in the index for the next question.

    Raises:
      UserError: there is no video, or the one that is named cannot be read; the index cannot be used; or the watcher refuses, such as
        after a consent has expired.
    """
    for person in people:
        watcher.presence([], person.name)  # before hours of indexing, and also where everything was asked before
    with Index(index_path) as index:
        indexed = index_videos(place, index, watcher, viewing, progress)
        timelines = tuple(timeline_of(item, person, index, watcher, options) for item in indexed.videos for person in people)
    return Found(timelines, indexed.unreadable, indexed.num_encoded, indexed.num_gone)


def timeline_of(item: IndexedVideo, person: Person, index: Index, watcher: Watcher, options: IntervalOptions) -> Timeline:
    """A person in an indexed video; windows that their pack has not been asked about before are asked about now."""
    video, windows = item.video, index.windows(item.video.id)
    key = person_key(person.name)
    scores = index.scores(key, person.pack, video.id)
    for asked in _in_parts([window for window in windows if window.number not in scores]):
        features = index.features(video.id, [window.number for window in asked])
        watched = [Watched(array, window.frame_times, str(item.path)) for array, window in zip(features, asked, strict=True)]
        said = watcher.presence(watched, person.name)
        new = {window.number: of.probability for window, of in zip(asked, said, strict=True)}
        index.put_scores(key, person.pack, video.id, new)
        scores |= new
    scored = tuple(_scored(window, scores[window.number]) for window in windows)
    intervals = tuple(intervals_of(scored, options))
    return Timeline(item.path, bare(person.name), video.origin, video.end, scored, intervals, video.notes, video.clock_start)


def _in_parts(windows: Sequence[KnownWindow]) -> Iterator[Sequence[KnownWindow]]:
    return (windows[start : start + _WINDOWS_AT_ONCE] for start in range(0, len(windows), _WINDOWS_AT_ONCE))


def _scored(window: KnownWindow, probability: float) -> ScoredWindow:
    return ScoredWindow(window.start, window.end, probability, window.frame_times[len(window.frame_times) // 2])
