"""Videos that clients name: checked before the model sees them, and single frames of them as pictures."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from pvchat_jax.data.video import inspect_video, open_video
from pvchat_jax.errors import UserError

# Containers that hold their frames themselves. Others are lists of files and addresses, which FFmpeg would open.
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,ivf"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_BROWSER_TYPES = {"mp4": "video/mp4", "webm": "video/webm", "ogg": "video/ogg"}
SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .flv .wmv .ogv .3gp .gif".split())

_SEEK_SECONDS = 4.0  # between two wanted frames, from which on it is faster to seek than to decode all between them


class VideoFacts(NamedTuple):
    """`seconds` from the first frame to the end; `media_type` as browsers call the container."""

    seconds: float
    width: int
    height: int
    media_type: str


def check_video(path: Path, *, max_seconds: float, max_pixels: int) -> VideoFacts:
    """Whether the server takes a video.

    Raises:
      UserError: it is damaged, no video, a list of other files, too long or too large.
    """
    media_type, seconds = _open_carefully(path)
    if seconds > max_seconds:
        raise UserError(f"video {path} lasts {seconds:.0f} s and {max_seconds:.0f} s are the most; send a part of it.")
    info = inspect_video(path)
    if info.width * info.height > max_pixels:
        raise UserError(f"video {path} has frames of {info.width} x {info.height} pixels, which are too large; send it smaller.")
    width, height = (info.width, info.height) if info.quarter_turns % 2 == 0 else (info.height, info.width)
    return VideoFacts(seconds, width, height, media_type)


def _open_carefully(path: Path) -> tuple[str, float]:
    """The container's type for browsers and the video's length in seconds."""
    try:
        with av.open(str(path.absolute()), options=_OPTIONS) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise UserError(f"video {path} has no video stream; send a video file.")
            seconds = container.duration / av.time_base if container.duration else _last_time(container, stream)
            names = container.format.name.split(",")
            return next((_BROWSER_TYPES[name] for name in ("mp4", "webm", "ogg") if name in names), "application/octet-stream"), seconds
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"video {path} cannot be read; it is damaged or no video, make or copy it again.") from error


def _last_time(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    times = [float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.pts is not None]
    return max(times, default=0.0) - min(times, default=0.0)


def frame_at(path: Path, seconds: float, max_side: int = 640) -> bytes:
    """The frame shown at `seconds`, or the last one, as JPEG.

    Raises:
      UserError: the video cannot be read.
    """
    image = Image.fromarray(frames_at(path, [seconds])[0])
    image.thumbnail((max_side, max_side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return file.getvalue()


def frames_at(path: Path, times: Sequence[float]) -> np.ndarray:
    """The frames shown at ascending `times`, in seconds since the container's clock started: uint8[T, H, W, 3] in RGB, upright.

    Before the first frame that is the first, and after the last one the last.

    Raises:
      UserError: the video cannot be read.
    """
    found: list[np.ndarray] = []
    with open_video(path) as (container, stream):
        start = (container.start_time or 0) / av.time_base
        frames, shown, ahead = container.decode(stream), None, None

        def clock(frame: av.VideoFrame) -> float:
            return (frame.time or 0.0) - start

        for time in times:
            if time - (clock(shown) if shown else 0.0) > _SEEK_SECONDS and _seek(container, stream, time + start):
                frames, shown, ahead = container.decode(stream), None, None
            while True:
                ahead = next(frames, None) if ahead is None else ahead
                if ahead is None or (shown is not None and clock(ahead) > time):
                    break
                shown, ahead = ahead, None
            if shown is None:
                raise UserError(f"video {path} shows nothing at {time:.1f} s; it may be damaged, make or copy it again.")
            found.append(_upright(shown, stream.codec_context.width, stream.codec_context.height))
    return np.stack(found)


def _seek(container: av.container.InputContainer, stream: av.VideoStream, time: float) -> bool:
    """Goes to the key frame before `time`, where the container can."""
    if stream.time_base is None:
        return False
    try:
        container.seek(int(time / stream.time_base), stream=stream)
    except av.FFmpegError:
        return False
    return True


def _upright(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    pixels = frame.reformat(width, height, "rgb24").to_ndarray()  # later frames may be of another size
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
