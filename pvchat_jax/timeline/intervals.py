"""From what is said about overlapping windows to intervals in which a person is seen; numbers only.

Overlapping windows are first brought together: the ends of all windows cut time into slices, and a slice has the mean probability of the
windows that cover it. Two thresholds then keep an interval from falling apart (hysteresis): it has to reach the upper one somewhere, and
goes as far as the lower one is kept.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

ENTER = 0.75  # three times likelier than not, as what is called present
_LEAVE = 0.6


class ScoredWindow(NamedTuple):
    """A window and the probability that the person is in it; `middle` is the time of its middle frame.

    All times are in seconds since the container's clock started.
    """

    start: float
    end: float
    probability: float
    middle: float


class Slice(NamedTuple):
    """A stretch of time, in seconds, and the probability in it."""

    start: float
    end: float
    probability: float


@dataclasses.dataclass(frozen=True)
class Interval:
    """A stretch of a video in which the person is seen.

    Attributes:
      start: seconds of the container's clock. end: likewise, exclusive.
      probability: the mean over its time. best: time of the frame that shows it best, inside the most probable window.
    """

    start: float
    end: float
    probability: float
    best: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntervalOptions:
    """How intervals are made.

    Attributes:
      enter: probability that an interval has to reach. leave: that it has to keep; at most `enter`.
      bridge: seconds between two intervals which are closed. shortest: seconds that an interval has to last, if the video is longer.
    """

    enter: float
    leave: float
    bridge: float
    shortest: float

    @classmethod
    def of_windows(cls, seconds: float, *, enter: float = ENTER, shortest: float | None = None) -> "IntervalOptions":
        """Those for windows of some seconds; by default an interval is as long as two windows that agree.

        The numbers were chosen on planted intervals that no reported number is of (benchmarks/find.py --split=calibration).
        """
        return cls(enter=enter, leave=min(enter, _LEAVE), bridge=seconds, shortest=1.5 * seconds if shortest is None else shortest)

    def __post_init__(self) -> None:
        if not 0 < self.leave <= self.enter <= 1:
            raise ValueError(f"leave {self.leave} and enter {self.enter} do not obey 0 < leave <= enter <= 1")


def slices_of(windows: Sequence[ScoredWindow]) -> list[Slice]:
    """The slices between the ends of all windows, in order; where there is no window there is no slice."""
    opening = sorted((window for window in windows if window.end > window.start), key=lambda window: window.start)
    edges = sorted({edge for window in opening for edge in (window.start, window.end)})
    slices, covering, upcoming = [], [], 0
    for start, end in itertools.pairwise(edges):
        while upcoming < len(opening) and opening[upcoming].start <= start:
            covering.append(opening[upcoming])
            upcoming += 1
        covering = [window for window in covering if window.end > start]
        if covering:
            slices.append(Slice(start, end, sum(window.probability for window in covering) / len(covering)))
    return slices


def intervals_of(windows: Sequence[ScoredWindow], options: IntervalOptions) -> list[Interval]:
    """Disjoint intervals in order of time."""
    slices = slices_of(windows)
    if not slices:
        return []
    longest = slices[-1].end - slices[0].start
    joined = _bridged(list(_kept(slices, options)), options.bridge)
    return [
        _interval(slices, windows, start, end)
        for start, end in joined
        if end - start >= min(options.shortest, longest) - 1e-9  # a video may be shorter
    ]


def _kept(slices: Sequence[Slice], options: IntervalOptions) -> Iterator[tuple[float, float]]:
    """Stretches of slices that keep `leave` and reach `enter`."""
    stretch: list[Slice] = []
    for piece in [*slices, Slice(float("inf"), float("inf"), -1.0)]:
        goes_on = piece.probability >= options.leave and (not stretch or piece.start == stretch[-1].end)
        if not goes_on and stretch:
            if max(part.probability for part in stretch) >= options.enter:
                yield stretch[0].start, stretch[-1].end
            stretch = []
        if piece.probability >= options.leave:
            stretch.append(piece)


def _bridged(stretches: Sequence[tuple[float, float]], bridge: float) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] <= bridge:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _interval(slices: Sequence[Slice], windows: Sequence[ScoredWindow], start: float, end: float) -> Interval:
    inside = [piece for piece in slices if start <= piece.start and piece.end <= end]
    seconds = sum(piece.end - piece.start for piece in inside)
    mean = sum(piece.probability * (piece.end - piece.start) for piece in inside) / seconds
    overlapping = [window for window in windows if window.start < end and window.end > start]

    def merit(window: ScoredWindow) -> tuple[bool, float, float]:
        """A frame of the interval itself, of the most probable window, as deep inside as can be."""
        return start <= window.middle < end, window.probability, min(window.middle - start, end - window.middle)

    best = max(overlapping, key=merit)
    return Interval(start, end, mean, min(max(best.middle, start), end))
