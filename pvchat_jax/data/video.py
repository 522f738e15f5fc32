"""Reads the sampled frames of a video file.

PyAV opens every file first: it counts frames, finds damage and names what is wrong. decord then reads a small share of the
frames of ordinary H.264 MP4 files, where seeking to them saves decoding. Elsewhere decord 0.6 has been seen
to return frames next to the wanted ones without an error (H.265, transport streams, AVI, fragmented or
trimmed MP4) or shuffled channels (rotated phone videos), so there PyAV decodes from the start.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.container
import numpy as np
from av.stream import Disposition

from pvchat_jax.data.preprocess import frame_indices, random_frame_indices
from pvchat_jax.errors import UserError

_SHARE_TO_SEEK = 0.5  # of the frames; where more are wanted, decoding all of them takes less time than decord's start


class VideoFrames(NamedTuple):
    """Sampled frames in RGB, uint8[T, H, W, 3], turned upright; `decoder` is `decord` or `pyav`."""

    frames: np.ndarray
    num_source_frames: int
    decoder: str


class VideoInfo(NamedTuple):
    """What a file's packets and first frame tell.

    Attributes:
      num_frames: frames that are shown, at least 1.
      width: of the first frame as stored, in pixels; later frames are scaled to it.
      height: likewise.
      quarter_turns: counter-clockwise turns that set a stored frame upright.
      decord_is_exact: whether decord can be trusted to find the asked frames.
    """

    num_frames: int
    width: int
    height: int
    quarter_turns: int
    decord_is_exact: bool


def read_frames(path: str | Path, num_frames: int, rng: np.random.Generator | None = None) -> VideoFrames:
    """Decodes the `frame_indices` of a video, or with `rng` its `random_frame_indices`, and only those.

    Args:
      path: a video file of any format that FFmpeg knows; a still picture counts as one frame.
      num_frames: T, frames to return; shorter videos repeat frames.
      rng: draws the frames.

    Raises:
      UserError: the file is missing, a directory, empty, damaged, or has no video stream.
    """
    info = inspect_video(path)
    indices = frame_indices(info.num_frames, num_frames) if rng is None else random_frame_indices(info.num_frames, num_frames, rng)
    return _read(path, indices, info)


def read_frames_at(path: str | Path, indices: np.ndarray) -> np.ndarray:
    """Decodes the frames at ascending `indices: int64[T]`: uint8[T, H, W, 3].

    Raises:
      UserError: as `read_frames`.
    """
    return _read(path, indices, inspect_video(path)).frames


def frame_times(path: str | Path) -> np.ndarray:
    """When each frame is shown, float64[frames] ascending: seconds since the container's clock started; nothing is decoded.

    In a file that keeps no times, such as a bare H.264 stream, frames follow each other at the rate that the stream states.

    Raises:
      UserError: as `read_frames`.
    """
    with open_video(path) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size > 0 and not packet.is_discard]
        ticks = [packet.dts if packet.pts is None else packet.pts for packet in packets]
        if any(tick is None for tick in ticks):
            return np.arange(len(ticks)) / float(stream.average_rate or stream.guessed_rate or 1)
        start = Fraction(container.start_time or 0, av.time_base)
        return np.array(sorted(float(tick * stream.time_base - start) for tick in ticks))


def _read(path: str | Path, indices: np.ndarray, info: VideoInfo) -> VideoFrames:
    if info.decord_is_exact and len(indices) < _SHARE_TO_SEEK * info.num_frames:
        frames = _read_with_decord(path, indices, info.num_frames)
        if frames is not None:
            return VideoFrames(frames, info.num_frames, "decord")
    return VideoFrames(_read_with_pyav(path, indices, info), info.num_frames, "pyav")


def inspect_video(path: str | Path) -> VideoInfo:
    """Counts the frames of a video and decodes its first one; reads the file once without decoding the rest.

    Raises:
      UserError: as `read_frames`.
    """
    with open_video(path) as (container, stream):
        is_mp4 = "mp4" in container.format.name
        num_shown = 0
        first_frame = None
        for packet in container.demux(stream):  # ends with an empty packet that flushes the decoder
            if packet.is_corrupt and is_mp4:  # the file ends inside the packet; in transport streams it may mean little
                raise UserError(f"video {path} is damaged or cut short after {num_shown} frames; make or copy it again.")
            num_shown += packet.size > 0 and not packet.is_discard  # an edit list may hide stored frames
            if first_frame is None:
                first_frame = next(iter(packet.decode()), None)
        if first_frame is None or num_shown == 0:
            raise UserError(f"video {path} has a video stream without a single frame; make or copy it again.")
        quarter_turns = round(first_frame.rotation / 90) % 4
        is_plain_mp4 = is_mp4 and stream.frames == num_shown  # neither fragmented nor trimmed
        is_h264 = stream.codec_context.name == "h264"
        return VideoInfo(
            num_frames=num_shown,
            width=first_frame.width,
            height=first_frame.height,
            quarter_turns=quarter_turns,
            decord_is_exact=is_plain_mp4 and is_h264 and quarter_turns == 0,
        )


@contextlib.contextmanager
def open_video(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens the first real video stream, to be decoded by one thread.

    FFmpeg's errors become `UserError`s in here and in the with-block.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"video {path} does not exist; correct its path, or put the file there.")
    if path.is_dir():
        raise UserError(f"video {path} is a directory; name a video file.")
    if path.stat().st_size == 0:
        raise UserError(f"video {path} is empty (0 bytes); make or copy it again.")
    try:
        with av.open(str(path.absolute())) as container:  # absolute, so that no part of a name reads as a protocol
            # The cover picture of a sound file is stored as a video stream.
            streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
            if not streams:
                raise UserError(f"video {path} has no video stream, only {_stream_types(container)}; name a video file.")
            streams[0].thread_count = 1  # the pipeline decodes several videos at a time instead
            yield container, streams[0]
    except av.FFmpegError as error:
        raise UserError(f"video {path} cannot be decoded ({error.strerror}); it is damaged or no video, make or copy it again.") from error


def _stream_types(container: av.container.InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams if stream.type != "video"})) or "pictures"


def _read_with_decord(path: str | Path, indices: np.ndarray, num_frames: int) -> np.ndarray | None:
    """Frames at `indices`, or None where decord is not installed, fails, or counts frames differently."""
    try:
        import decord  # no wheels for some platforms
    except (ImportError, OSError):
        return None
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(Path(path).absolute()), num_threads=1)  # closes its file and thread when it goes out of scope
        return reader.get_batch(indices).asnumpy() if len(reader) == num_frames else None
    except (decord.DECORDError, RuntimeError):
        return None


def _read_with_pyav(path: str | Path, indices: np.ndarray, info: VideoInfo) -> np.ndarray:
    """Decodes from the start up to the last of `indices`, and converts only those to RGB."""
    wanted = set(indices.tolist())
    images: dict[int, np.ndarray] = {}
    num_decoded = 0
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
            if num_decoded in wanted:
                rgb = frame.reformat(info.width, info.height, "rgb24", threads=1)  # several videos are decoded at a time instead
                images[num_decoded] = rgb.to_ndarray()
            num_decoded += 1
            if len(images) == len(wanted):
                break
        else:
            raise UserError(
                f"video {path} is damaged, only {num_decoded} of {info.num_frames} frames can be decoded; make or copy it again."
            )
    frames = np.stack([images[index] for index in indices.tolist()])
    return np.ascontiguousarray(np.rot90(frames, info.quarter_turns, axes=(1, 2)))
