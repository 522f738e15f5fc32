"""Tiny real video files for tests: frame i is of one grey, `grey_of(i)`, with a red left half."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 48
MAX_FRAMES = 60


def grey_of(index: int) -> int:
    return 10 + 4 * index


def write_video(
    path: Path,
    num_frames: int,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    codec: str = "libx264",
    container_options: dict[str, str] | None = None,
    **codec_options: str,
) -> Path:
    """Writes an H.264 file, unless `codec` says otherwise, with a key frame every 12 frames."""
    assert num_frames <= MAX_FRAMES
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"g": "12", "crf": "5", **codec_options}
        for index in range(num_frames):
            image = np.full((height, width, 3), grey_of(index), np.uint8)
            image[:, : width // 2] = (250, 0, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def lay_on_its_side(path: Path, turn: str) -> Path:
    """Says in the header of an mp4 file of the usual size that players have to turn it by a `quarter` or a `half`."""
    matrix = {"quarter": (0, 1, -1, 0, HEIGHT, 0), "half": (-1, 0, 0, -1, WIDTH, HEIGHT)}[turn]
    a, b, c, d, x, y = (value << 16 for value in matrix)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # where the track header keeps its display matrix
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, x, y, 1 << 30)
    path.write_bytes(content)
    return path


def write_sound(path: Path) -> Path:
    """Writes a quarter of a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if path.suffix == ".mp4" else "libmp3lame", rate=16000)
        stream.layout = "mono"
        for index in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, index * 1024, Fraction(1, 16000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(frames: np.ndarray) -> list[int]:
    """The grey of each uint8[T, H, W, 3] frame, from its right half."""
    return [round(float(frame[HEIGHT // 4 : -HEIGHT // 4, -WIDTH // 4 :].mean())) for frame in frames]


def assert_frames_are(frames: np.ndarray, indices: Iterable[int]) -> None:
    """Checks which frames of a `write_video` file these are; neighbours differ by 4 levels, codecs err by 1."""
    np.testing.assert_allclose(greys(frames), [grey_of(int(index)) for index in indices], atol=1.5)
