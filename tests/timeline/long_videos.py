"""Small real video files with frames of one colour at chosen times."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

GREY, GREEN, BLUE = (90, 90, 90), (20, 220, 20), (20, 20, 220)
Colour = tuple[int, int, int]
_SIZE = 32


def write_frames(
    path: Path, frames: Iterable[tuple[float, Colour]], *, codec: str = "libx264", options: dict[str, str] | None = None, bf: int = 0
) -> Path:
    """Writes frames of a time in seconds and a colour; MP4, Matroska or MPEG-TS by the name."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=8)
        stream.width = stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.options = {"g": "8", "crf": "12", "bf": str(bf)} if codec == "libx264" else {}
        for time, colour in frames:
            frame = av.VideoFrame.from_ndarray(np.full((_SIZE, _SIZE, 3), colour, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def evenly(stretches: Sequence[tuple[float, Colour]], *, rate: float = 8, start: float = 0.0) -> list[tuple[float, Colour]]:
    """Frames at an even rate that show each colour for some seconds."""
    frames = []
    for seconds, colour in stretches:
        frames += [(start + index / rate, colour) for index in range(round(seconds * rate))]
        start += seconds
    return frames
