"""Decodes long videos from start to end, frame by frame, and never holds more of them than a window needs.

Frames keep the time that the container gives them, whatever their rate: PTS in the stream's time base, after edit lists. As in players,
the clock counts from where the container's starts (`clock_start`), which need not be 0 and may be before the first frame. What is damaged
is left out, with a note, and what can be decoded is used.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
from av.video.reformatter import VideoReformatter

from pvchat_jax.data.video import open_video
from pvchat_jax.errors import UserError
from pvchat_jax.timeline.windows import Grid, Look, RunEnd

LONGEST_STILL = 60.0  # seconds that a picture may stand; after more, the recording was interrupted
_TOLERATED_LOSS = 1.0  # seconds; headers round durations, and sound may outlast the picture
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class TimedFrame:
    """A frame with its time and how long it is on screen, in seconds; `damaged` tells whether something before it was left out."""

    time: float
    seconds: float
    frame: av.VideoFrame
    damaged: bool


class UprightPicture:
    """Turns decoded frames into uint8[H, W, 3], upright in RGB, of the size of the first one: some broadcasts change it."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        self._size = self._size or (frame.width, frame.height)
        pixels = self._reformatter.reformat(frame, *self._size, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


@dataclasses.dataclass
class LongVideo:
    """A video that is looked at in steps of `step` seconds; `notes` says what is wrong with it, as far as it was read.

    Attributes:
      num_frames: T, looks of a window.
      origin: time of the first frame; None until it was decoded, unless it is known from an earlier reading.
      clock_start: what the container's own clock shows at time 0, in seconds.
      end: until when the frames read so far are on screen.
    """

    path: Path
    step: float
    num_frames: int
    origin: float | None = None
    clock_start: float = 0.0
    end: float = 0.0
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def grid(self) -> Grid:
        """Of a video of which at least one frame was decoded."""
        if self.origin is None:
            raise ValueError(f"no frame of {self.path} was read yet")
        return Grid(self.origin, self.step, self.num_frames)

    def looks(self, first: int = 0) -> Iterator[Look | RunEnd]:
        """The looks from number `first` on, whose frames are uint8[H, W, 3], upright in RGB; looks that see the same frame share it.

        Raises:
          UserError: the file is missing, no video, or damaged before its first frame.
        """
        if first == 0 or not (yield from self._decode(first, seek=True)):
            yield from self._decode(first, seek=False)

    def _decode(self, first: int, *, seek: bool) -> Iterator[Look | RunEnd]:
        """Returns whether a seek found a place that is early enough."""
        with open_video(self.path) as (container, stream):
            stream.thread_type, stream.thread_count = "AUTO", _THREADS
            self.clock_start = float(clock_start(container))
            picture = UprightPicture()
            wanted = self.grid.time(first) if seek else None
            if wanted is not None and not _seek(container, stream, wanted):
                return False
            held: TimedFrame | None = None
            for frame in timed_frames(container, stream, self.notes):
                if held is None and wanted is not None and (frame.time > wanted or frame.frame.pts is None):
                    return False  # some containers find the next key frame instead of the last one, and raw streams have no times
                self.origin = frame.time if self.origin is None else self.origin
                if held is not None:
                    yield from self._shown(held, frame.time, first, picture, damaged=frame.damaged)
                held, self.end = frame, frame.time + frame.seconds
            if held is None:
                if seek:
                    return False
                raise UserError(f"video {self.path} is damaged before its first frame; make or copy it again.")
            if first == 0 and self.grid.first_from(self.end) == 0:  # shorter than half a step
                yield Look(0, held.time, picture(held.frame))
            yield from self._shown(held, self.end, first, picture, damaged=False)
            yield RunEnd(self.end)
            self._note_what_is_lost(container, stream)
            return True

    def _shown(self, held: TimedFrame, until: float, first: int, picture: UprightPicture, *, damaged: bool) -> Iterator[Look | RunEnd]:
        """The looks that see `held`, and the end of a run where the next frame comes late."""
        grid = self.grid
        numbers = grid.shown(held.time, until)
        wanted = range(max(first, numbers.start), numbers.stop)
        pixels = picture(held.frame) if wanted else None
        yield from (Look(number, held.time, pixels) for number in wanted)
        if grid.first_from(until) > numbers.stop:
            is_still = until - held.time <= LONGEST_STILL and not damaged
            yield RunEnd(until if is_still else grid.start(numbers.stop))

    def _note_what_is_lost(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        lost = _promised_seconds(container, stream) - (self.end - self.grid.origin)
        if lost > _TOLERATED_LOSS:
            self.notes.append(f"ends at {self.end:.1f} s, {lost:.1f} s before what its header promises")


def frame_at(path: Path, time: float) -> np.ndarray:
    """The frame that is on screen at `time` of the container's clock: uint8[H, W, 3], upright in RGB.

    Raises:
      UserError: the video cannot be read any more, or has no frame at or before `time`.
    """
    for seek in (True, False):
        with open_video(path) as (container, stream):
            if seek and not _seek(container, stream, time):
                continue
            shown = None
            for frame in timed_frames(container, stream, []):
                if frame.time > time + 1e-6:
                    break
                shown = frame
            if shown is not None and (not seek or shown.frame.pts is not None):
                return UprightPicture()(shown.frame)
    raise UserError(f"video {path} shows nothing at {time:.3f} s; it may have changed, so index it again.")


def promised_seconds(path: Path) -> float:
    """The length that the headers tell; 0 where they tell nothing.

    Raises:
      UserError: as `LongVideo.looks`, but what is damaged after the headers goes unnoticed.
    """
    with open_video(path) as (container, stream):
        return _promised_seconds(container, stream)


def timed_frames(container: av.container.InputContainer, stream: av.VideoStream, notes: list[str]) -> Iterator[TimedFrame]:
    """The frames that can be decoded, in ascending order of time; `notes` gets a sentence about the first of each kind of trouble."""
    start, period = clock_start(container), 1 / float(stream.average_rate or stream.guessed_rate or 25)
    last: float | None = None
    damaged = jumped = False
    for frame in _decoded_frames(container, stream):
        if frame is None:
            if last is not None and not damaged and not any("damaged" in note for note in notes):
                notes.append(f"damaged from about {last:.1f} s on; what cannot be decoded is left out")
            damaged = last is not None  # before the first key frame of a broadcast something is always missing
            continue
        if frame.pts is None or frame.time_base is None:  # raw streams have no clock
            time = 0.0 if last is None else last + period
        else:
            time = float(frame.pts * frame.time_base - start)
        if last is not None and time <= last:
            if not jumped and last - time > _TOLERATED_LOSS:
                notes.append(f"its clock goes back at {last:.1f} s; what it tells twice was looked at once")
                jumped = True
            continue
        seconds = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else period
        yield TimedFrame(time, seconds, frame, damaged)
        last, damaged = time, False


def _decoded_frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame | None]:
    """What can be decoded, and None for what cannot."""
    is_mp4 = "mp4" in container.format.name
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            yield None
            return
        if packet is None:
            return
        if packet.is_corrupt:
            yield None
            if is_mp4:  # the file ends inside the packet; what a transport stream still has of it may be decoded
                continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            yield None
            continue
        for frame in frames:
            yield None if frame.is_corrupt else frame


def clock_start(container: av.container.InputContainer) -> Fraction:
    """What the container's clock shows when it starts, in seconds."""
    return Fraction(container.start_time or 0, av.time_base)


def _seek(container: av.container.InputContainer, stream: av.VideoStream, time: float) -> bool:
    """Goes to the last key frame before `time`, in a container that can."""
    if stream.time_base is None:
        return False
    try:
        container.seek(int((Fraction(time) + clock_start(container)) / stream.time_base), stream=stream)
    except av.FFmpegError:
        return False
    return True


def _promised_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """What the headers say: the stream's length, or the whole file's where an edit list hides part of the stream."""
    promises = [float(stream.duration * stream.time_base)] if stream.duration and stream.time_base else []
    if container.duration:
        counts_from_zero = "matroska" in container.format.name  # and so counts what lies before the first frame
        promises.append((container.duration - counts_from_zero * (container.start_time or 0)) / av.time_base)
    return min(promises, default=0.0)
