"""Watches a filmed video: how much of it can be decoded, where it is cut, its frames at chosen times. And writes clips.

PyAV decodes from the start, and a frame keeps the time that the container gives it, so that variable frame rates and videos that
do not start at zero come out right. Of a damaged file the part before the damage is used.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from pvchat_jax.data.video import open_video
from pvchat_jax.errors import UserError
from pvchat_jax.files import temporary_beside
from pvchat_jax.synthesis.records import Shot, Source, sha256_of

_CUT_DISTANCE = 0.35  # between the colour histograms of two frames, where 1 is no colour in common
_CUT_RATIO = 4.0  # of a cut's distance to what is usual around it: a shaking camera changes colours all the time
_CUT_SURROUNDINGS = 8  # frames on either side
_SHORTEST_SHOT = 0.25  # seconds; shorter ones are flashes
_COLOUR_LEVELS = 8  # per channel of the histograms
_GLANCE = (64, 36)  # pixels of a frame that its histogram is taken from
_TOLERATED_LOSS = 0.5  # seconds; headers round durations, and sound may outlast the picture


def watch(video: Path) -> Source:
    """Decodes a video once and describes it.

    Raises:
      UserError: the file is missing, no video, or damaged before its first frame.
    """
    video = Path(video).absolute()
    times: list[float] = []
    distances: list[float] = []
    before = None
    width = height = 0
    with open_video(video) as (container, stream):
        glance = VideoReformatter()
        for time, frame in _timed_frames(container, stream):
            if not times:
                turned = _quarter_turns(frame) % 2
                width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
            picture = glance.reformat(frame, *_GLANCE, format="rgb24", interpolation=Interpolation.AREA, threads=1)
            colours = _colour_histogram(picture.to_ndarray())
            distances.append(0.0 if before is None else float(np.abs(colours - before).sum() / 2))
            times.append(time)
            before = colours
        promised = _promised_seconds(container, stream)
        nominal = float(stream.average_rate or stream.guessed_rate or 25)
    if not times:
        raise UserError(f"video {video} is damaged before its first frame; make or copy it again.")
    frames_per_second = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else nominal
    end = times[-1] + 1 / frames_per_second
    lost = promised - (end - times[0])
    return Source(
        video=str(video),
        sha256=sha256_of(video),
        seconds=end - times[0],
        lost_seconds=lost if lost > _TOLERATED_LOSS else 0.0,
        frames_per_second=frames_per_second,
        width=width,
        height=height,
        shots=_shots(np.array(times), np.array(distances), end),
    )


def sample_times(source: Source, per_second: float) -> list[float]:
    """The `times_in_shot` of every shot, in ascending order."""
    return [time for shot in source.shots for time in times_in_shot(shot, per_second)]


def times_in_shot(shot: Shot, per_second: float) -> list[float]:
    """At least one time, in seconds of the container's clock, evenly spread and clear of the cuts."""
    length = shot.end - shot.start
    number = max(1, round(length * per_second))
    return [shot.start + (index + 0.5) * length / number for index in range(number)]


def read_frames_at(source: Source, times: Sequence[float]) -> list[np.ndarray]:
    """The upright frame that is on screen at each of `times`, in their order: uint8[H, W, 3] in RGB."""
    order = sorted(range(len(times)), key=lambda index: times[index])
    frames = dict(zip(order, iterate_frames_at(source, [times[index] for index in order]), strict=True))
    return [frames[index] for index in range(len(times))]


def iterate_frames_at(source: Source, times: Sequence[float]) -> Iterator[np.ndarray]:
    """As `read_frames_at`, one frame at a time for `times` in ascending order.

    Times before the first frame give the first frame, and times after the last one the last.

    Raises:
      UserError: the video cannot be decoded any more.
    """
    remaining = list(times)[::-1]
    shown = None
    with open_video(source.video) as (container, stream):
        reformatter = VideoReformatter()
        for time, frame in _timed_frames(container, stream):
            while remaining and shown is not None and remaining[-1] < time - 1e-6:
                yield _upright(shown, source, reformatter)
                remaining.pop()
            if not remaining:
                return
            shown = frame
    if shown is None:
        raise UserError(f"video {source.video} has changed and has no frame any more; start again with the file as it was.")
    for _ in remaining:
        yield _upright(shown, source, reformatter)


def write_clip(path: Path, frames: Iterable[np.ndarray], frames_per_second: float) -> None:
    """Writes H.264 in MP4; the same frames give the same bytes, whatever the number of cores.

    Args:
      frames: at least one, uint8[H, W, 3] in RGB with even H and W, which 4:2:0 colours need.

    Raises:
      ValueError: no frames, or of odd size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(frames_per_second).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "18", "flags": "+bitexact"}
            stream.codec_context.thread_count = 1  # x264 decides otherwise with every other number
            number = -1
            for number, pixels in enumerate(frames):
                if number == 0:
                    stream.height, stream.width = pixels.shape[:2]
                    if stream.height % 2 or stream.width % 2:
                        raise ValueError(f"frames of {stream.width} x {stream.height} pixels; both must be even")
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                picture.pts = number
                container.mux(stream.encode(picture))
            if number < 0:
                raise ValueError(f"no frames to write to {path}")
            container.mux(stream.encode(None))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _timed_frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[float, av.VideoFrame]]:
    """The frames up to the first damage, and their times, which ascend."""
    period = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    last = None
    try:
        for frame in container.decode(stream):
            if frame.is_corrupt:  # what a decoder makes up where data is missing, also before the first key frame of a broadcast
                continue
            time = frame.time
            if time is None or (last is not None and time <= last):  # raw streams have no times, broadcasts may jump back
                time = 0.0 if last is None else last + period
            last = time
            yield time, frame
    except av.FFmpegError:
        return


def _promised_seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """What the headers say: the stream's length, or the whole file's where an edit list hides part of the stream."""
    promises = [float(stream.duration * stream.time_base)] if stream.duration and stream.time_base else []
    if container.duration:
        counts_from_zero = "matroska" in container.format.name  # and so counts what lies before the first frame
        promises.append((container.duration - counts_from_zero * (container.start_time or 0)) / av.time_base)
    return min(promises, default=0.0)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise turns that set a stored frame upright."""
    return round(frame.rotation / 90) % 4


def _upright(frame: av.VideoFrame, source: Source, reformatter: VideoReformatter) -> np.ndarray:
    turns = _quarter_turns(frame)
    width, height = (source.height, source.width) if turns % 2 else (source.width, source.height)
    pixels = reformatter.reformat(frame, width, height, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """float64[levels ** 3] with sum 1."""
    levels = pixels.reshape(-1, 3).astype(np.int64) * _COLOUR_LEVELS // 256
    bins = levels @ (_COLOUR_LEVELS**2, _COLOUR_LEVELS, 1)
    return np.bincount(bins, minlength=_COLOUR_LEVELS**3) / len(bins)


def _shots(times: np.ndarray, distances: np.ndarray, end: float) -> tuple[Shot, ...]:
    """Cuts where colours change much, and much more than around. `distances` are from the frame before; both are float64[N]."""
    padded = np.pad(distances, _CUT_SURROUNDINGS, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _CUT_SURROUNDINGS + 1), axis=1)
    starts = [times[0]]
    for time in times[(distances > _CUT_DISTANCE) & (distances > _CUT_RATIO * usual)]:
        if time - starts[-1] >= _SHORTEST_SHOT and end - time >= _SHORTEST_SHOT:
            starts.append(time)
    return tuple(Shot(start=float(start), end=float(stop)) for start, stop in zip(starts, [*starts[1:], end], strict=True))
