"""What image-text models are told and shown."""

import numpy as np
from PIL import Image

from pvchat_jax.data.preprocess import frame_indices

INSTRUCTION = (
    "You see frames of one short video in their order. Answer the question about the person in it in one or two plain sentences. "
    "Say only what can be seen. Write 'the person' for whom the question is about; never guess a name."
)


def shown_frames(frames: np.ndarray, count: int, max_side: int) -> list[Image.Image]:
    """At most `count` of frames uint8[T, H, W, 3], evenly spaced, no side longer than `max_side` pixels."""
    indices = range(len(frames)) if len(frames) <= count else frame_indices(len(frames), count)
    images = [Image.fromarray(frames[index]) for index in indices]
    for image in images:
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    return images
