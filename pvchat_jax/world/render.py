"""From a plan to frames and to the bytes of an H.264 file. Both depend on the plan alone."""

import functools
import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pvchat_jax.world.figure import PARTS, draw_parts, draw_person
from pvchat_jax.world.plan import VideoPlan
from pvchat_jax.world.scenes import MARGIN, draw_scene
from pvchat_jax.world.shapes import UNITS, Canvas, Colour, FloatArray, Mask
from pvchat_jax.world.staging import FRAMES_PER_SECOND, NUM_FRAMES, Staging, stage

SIZE = 128  # pixels; a 64-pixel model input is an exact halving
_CODEC_OPTIONS = {"preset": "ultrafast", "crf": "18", "g": str(NUM_FRAMES), "bf": "0", "threads": "1"}


def render_frames(plan: VideoPlan, *, size: int = SIZE, frames: Sequence[int] = range(NUM_FRAMES)) -> NDArray[np.uint8]:
    """Paints a video, or some of its frames.

    Args:
      size: width and height in pixels.
      frames: numbers of the T frames to paint.

    Returns:
      uint8[T, size, size, 3].
    """
    staging = stage(plan, frames)
    canvas = Canvas(_pan(draw_scene(plan.scene, size, np.random.default_rng(plan.seed)), staging.camera, size))
    for placed in reversed(staging.people):  # the subject is in front
        draw_person(canvas, placed)
    return _expose(canvas, staging)


def render_parts(plan: VideoPlan, *, size: int = SIZE, frames: Sequence[int] = range(NUM_FRAMES)) -> NDArray[np.uint8]:
    """Which part of whom each pixel of a video shows, without a shutter's blur.

    Returns:
      uint8[T, size, size]: 0 for the scene, else 1 + the number in `figure.PARTS`, and as many again for a bystander.
    """
    staging = stage(plan, frames, shutter=False)
    labels = np.zeros((size, size, len(frames)), np.uint8)
    for number, placed in reversed(tuple(enumerate(staging.people))):
        coverage = _Coverage(np.zeros((1, *labels.shape), np.float32))
        for part in draw_parts(coverage, placed):
            labels[coverage.planes[0] > 0.5] = 1 + number * len(PARTS) + PARTS.index(part)
            coverage.planes[...] = 0.0
    return labels.transpose(2, 0, 1)


class _Coverage(Canvas):
    """A canvas on which everything is white."""

    def paint(self, mask: Mask | None, colour: Colour, *, shade: float = 0.0, opacity: float = 1.0) -> None:
        if mask is not None:
            region = self.planes[0, mask.rows, mask.columns]
            np.maximum(region, mask.alpha, out=region)


def _expose(canvas: Canvas, staging: Staging) -> NDArray[np.uint8]:
    """Light, shutter and bytes: the canvas as uint8[T, H, W, 3]."""
    gain = 255 * staging.brightness
    height, width, moments = canvas.planes.shape[1:]
    pixels = np.empty((moments // staging.num_exposures, height, width, 3), np.uint8)
    for channel, plane in enumerate(canvas.planes):
        plane *= gain
        np.minimum(plane, np.float32(255.0), out=plane)
        if staging.num_exposures > 1:
            plane = _mean_over_last(plane.reshape(height, width, -1, staging.num_exposures))
        pixels[..., channel] = plane.astype(np.uint8).transpose(2, 0, 1)
    return pixels


def _mean_over_last(values: FloatArray) -> FloatArray:
    """Several times as fast as numpy's own mean over an axis of few values."""
    return functools.reduce(np.add, np.moveaxis(values, -1, 0)) / np.float32(values.shape[-1])


def _pan(background: Canvas, camera: FloatArray, size: int) -> FloatArray:
    """Cuts a picture out of a wider background at a camera position per frame -> float[3, size, size, T]."""
    offsets = (camera + np.float32(MARGIN)) * np.float32(size / UNITS)
    source = background.planes[..., 0]
    step = np.diff(source, axis=2)
    frames = np.empty((len(camera), 3, size, size), np.float32)
    for target, offset in zip(frames, offsets, strict=True):
        whole = int(offset)
        np.multiply(step[:, :, whole : whole + size], offset - np.float32(whole), out=target)
        target += source[:, :, whole : whole + size]
    return np.ascontiguousarray(frames.transpose(1, 2, 3, 0))


def encode_video(frames: NDArray[np.uint8]) -> bytes:
    """An mp4 file with one H.264 stream (yuv420p, one key frame at the start, no audio) from uint8[T, H, W, 3], evenly spaced in time."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND * len(frames), NUM_FRAMES), options=_CODEC_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        reformatter = VideoReformatter()  # one for all frames: setting it up costs more than its work on a frame
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = reformatter.reformat(picture, format="yuv420p", threads=1)  # waking more costs more than they do
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
