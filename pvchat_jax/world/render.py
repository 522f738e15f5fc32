"""From a plan to frames and to the bytes of an H.264 file. Both depend on the plan alone."""

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pvchat_jax.world.actions import ACTIONS, CLIP_SECONDS
from pvchat_jax.world.figure import draw_person
from pvchat_jax.world.plan import Person, VideoPlan
from pvchat_jax.world.scenes import MARGIN, draw_scene
from pvchat_jax.world.shapes import UNITS, Canvas, FloatArray

SIZE = 128  # pixels; a 64-pixel model input is an exact halving
FRAMES_PER_SECOND = 8
NUM_FRAMES = round(CLIP_SECONDS * FRAMES_PER_SECOND)
BODY_X: Mapping[str | None, float] = {"left": 36.0, "centre": 64.0, "right": 92.0, None: 64.0}
_CODEC_OPTIONS = {"preset": "ultrafast", "crf": "18", "g": str(NUM_FRAMES), "bf": "0", "threads": "1"}


def render_frames(plan: VideoPlan, *, size: int = SIZE, frames: Sequence[int] = range(NUM_FRAMES)) -> NDArray[np.uint8]:
    """Paints a video, or some of its frames.

    Args:
      size: width and height in pixels.
      frames: numbers of the T frames to paint.

    Returns:
      uint8[T, size, size, 3].
    """
    rng = np.random.default_rng(plan.seed)
    time = np.asarray(frames, np.float32) / np.float32(FRAMES_PER_SECOND)
    camera = (rng.uniform(1.0, 4.0) * np.sin(2 * np.pi * (0.3 * time + rng.random()))).astype(np.float32)  # units to the right
    brightness = rng.uniform(0.9, 1.04) + 0.05 * np.sin(2 * np.pi * (0.35 * time + rng.random()))
    canvas = Canvas(_pan(draw_scene(plan.scene, size, rng), camera, size))
    for person in (plan.bystander, plan.person):  # the subject is in front
        if person is not None:
            _draw(canvas, person, time, camera, rng)
    gain = (255 * brightness).astype(np.float32)
    pixels = np.empty((len(time), size, size, 3), np.uint8)
    for channel, plane in enumerate(canvas.planes):
        plane *= gain
        pixels[..., channel] = np.minimum(plane, np.float32(255.0), out=plane).astype(np.uint8).transpose(2, 0, 1)
    return pixels


def _draw(canvas: Canvas, person: Person, time: FloatArray, camera: FloatArray, rng: np.random.Generator) -> None:
    free_side = {"left": 1, "right": 0}.get(person.position or "", int(rng.integers(2)))
    pose = ACTIONS[person.action](time, rng, free_side)
    scale = float(rng.uniform(0.95, 1.05))
    x = BODY_X[person.position] + float(rng.uniform(-4, 4)) - 0.4 * camera
    draw_person(canvas, person.identity, person.outfit, pose, x=x, y=float(rng.uniform(-2, 4)), scale=scale)


def _pan(background: Canvas, camera: FloatArray, size: int) -> FloatArray:
    """Cuts a picture out of a wider background at a camera position per frame -> float[3, size, size, T]."""
    offsets = (camera + np.float32(MARGIN)) * np.float32(size / UNITS)
    frames = np.empty((3, size, size, len(camera)), np.float32)
    for source, target in zip(background.planes[..., 0], frames, strict=True):
        step = np.diff(source, axis=1)
        for number, offset in enumerate(offsets):
            whole = int(offset)
            target[..., number] = source[:, whole : whole + size] + (offset - np.float32(whole)) * step[:, whole : whole + size]
    return frames


def encode_video(frames: NDArray[np.uint8]) -> bytes:
    """uint8[T, H, W, 3] -> an mp4 file with one H.264 stream (yuv420p, one key frame at the start, no audio)."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND), options=_CODEC_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        reformatter = VideoReformatter()  # one for all frames: setting it up costs more than its work on a frame
        for number, pixels in enumerate(frames):
            frame = reformatter.reformat(av.VideoFrame.from_ndarray(pixels, format="rgb24"), format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
