"""Drawn videos of single people with their exact truth, for tests of what is cut out of them."""

import functools
import io

import av
import numpy as np

from pvchat_jax.pretraining.parts import CLASSES, whose_ever
from pvchat_jax.synthesis.segmenting.segmenter import SHOULDERS, Part, Segmenter
from pvchat_jax.world.figure import draw_person
from pvchat_jax.world.plan import VideoPlan, reference_video
from pvchat_jax.world.render import encode_video, render_frames, render_parts
from pvchat_jax.world.shapes import Canvas
from pvchat_jax.world.staging import stage, track

SIZE = 128


@functools.cache
def video(seed: int) -> np.ndarray:
    """The reference video of a world, uint8[16, 128, 128, 3], after the losses of the codec."""
    with av.open(io.BytesIO(encode_video(render_frames(reference_video(seed))))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def coverage(plan: VideoPlan) -> np.ndarray:
    """Where the person is, float[16, 128, 128]: what is painted shows the same on black as on white."""
    staging = stage(plan, shutter=False)
    canvases = [Canvas(np.full((3, SIZE, SIZE, len(staging.camera)), value, np.float32)) for value in (0.0, 1.0)]
    for canvas in canvases:
        draw_person(canvas, staging.people[0])
    return (1 - (canvases[1].planes - canvases[0].planes).mean(axis=0)).transpose(2, 0, 1)


def true_parts(seed: int) -> Segmenter:
    """A segmenter that knows every fourth frame of the reference video of a world."""
    shown = whose_ever(render_parts(reference_video(seed))[::4])
    parts = np.array([Part[name.upper()] for name in CLASSES], np.uint8)[shown]
    return lambda frames, boxes, shoulders=SHOULDERS: parts


def head_boxes(plan: VideoPlan) -> np.ndarray:
    """float[16, 4] in pixels."""
    return track(stage(plan, shutter=False).people[0]).head.astype(np.float64)
