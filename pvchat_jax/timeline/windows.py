"""Which frames of a long video are looked at, and which of them make a window; numbers only, no decoding.

A video is looked at in the middle of equal steps from its first frame on, and T looks in a row make a window, which is what the model
sees at a time. Windows follow each other every T / 2 looks, so that every moment but the first and the last is in two of them. A look
takes the frame that is on screen at its time, as a viewer would see it, which is right for any frame rate, also a variable one.

Where no new frame comes for longer than a window, the picture is looked at for one window's time and then not again until something new
comes: a run of looks ends, and another begins.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


def hop_of(num_frames: int) -> int:
    """Looks from one window of `num_frames` to the next."""
    return max(1, num_frames // 2)


class Grid(NamedTuple):
    """The times of a video's looks.

    Attributes:
      origin: time of the first frame, in seconds of the container's clock. step: seconds from look to look.
      num_frames: T, looks that make a window.
    """

    origin: float
    step: float
    num_frames: int

    @property
    def hop(self) -> int:
        """Looks from one window to the next."""
        return hop_of(self.num_frames)

    def time(self, number: int) -> float:
        """Time of look `number`, of which the first is 0."""
        return self.origin + (number + 0.5) * self.step

    def start(self, number: int) -> float:
        """Where the step of look `number` begins."""
        return self.origin + number * self.step

    def first_from(self, time: float) -> int:
        """The first look at `time` or later."""
        return max(0, math.ceil((time - self.origin) / self.step - 0.5))

    def shown(self, time: float, next_time: float) -> range:
        """The looks that see a frame which is on screen from `time` until `next_time`, at most those of one window."""
        first = self.first_from(time)
        return range(first, min(self.first_from(next_time), first + self.num_frames))


class Look(NamedTuple):
    """Look `number`: the frame that is on screen then, and the frame's own time in seconds of the container's clock."""

    number: int
    time: float
    frame: Any


class RunEnd(NamedTuple):
    """After these looks none follow at once. `time` is until when the last of their frames is on screen."""

    time: float


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """T looks in a row.

    Attributes:
      number: of its first look. run: number of the first look of its run, from which windows are counted.
      start: seconds of the container's clock. end: likewise, exclusive.
      frame_times: T times of frames, in seconds of the container's clock. frames: the T frames.
    """

    number: int
    run: int
    start: float
    end: float
    frame_times: tuple[float, ...]
    frames: tuple[Any, ...]


def windows_of(looks: Iterable[Look | RunEnd], grid: Grid, *, run: int | None = None) -> Iterator[Window]:
    """The windows of looks in ascending order, of which each run is closed by a `RunEnd`.

    Where a run does not end with a window, one more covers its end. A run of fewer than T looks is one window that repeats frames.

    Args:
      run: of the first looks, where an interrupted reading goes on in the middle of a run.
    """
    recent: collections.deque[Look] = collections.deque(maxlen=grid.num_frames)
    ready: Window | None = None  # waits for the next one, since the last of a run may end later
    for look in looks:
        if isinstance(look, RunEnd):
            if recent:
                yield from _last_windows(recent, ready, grid, recent[0].number if run is None else run, look.time)
                recent.clear()
                ready = run = None
            continue
        run = look.number if run is None else run
        recent.append(look)
        if len(recent) == grid.num_frames and (recent[0].number - run) % grid.hop == 0:
            if ready is not None:
                yield ready
            ready = _window(recent, grid, run, grid.start(look.number + 1))


def _last_windows(recent: Iterable[Look], ready: Window | None, grid: Grid, run: int, end: float) -> Iterator[Window]:
    looks = list(recent)
    if ready is not None and ready.number == looks[0].number:
        yield dataclasses.replace(ready, end=end)
        return
    if ready is not None:
        yield ready
    repeated = [looks[int((index + 0.5) * len(looks) / grid.num_frames)] for index in range(grid.num_frames)]
    yield _window(repeated, grid, run, end)


def _window(looks: Iterable[Look], grid: Grid, run: int, end: float) -> Window:
    looks = list(looks)
    number = looks[0].number
    return Window(number, run, grid.start(number), end, tuple(look.time for look in looks), tuple(look.frame for look in looks))
