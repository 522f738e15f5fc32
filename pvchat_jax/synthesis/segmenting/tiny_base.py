"""The segmenter of drawn people, a small network that was trained on drawings of others with their exact outlines."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.models.part_segmenter import PartSegmenter
from pvchat_jax.pretraining.parts import CLASSES, SEGMENTER_FILE
from pvchat_jax.synthesis.segmenting.segmenter import HEAD, SHOULDERS, Boxes, Masks, Part, Parts
from pvchat_jax.training.weights import read_tensors, weights_directory
from pvchat_jax.world.render import SIZE

_FRAMES_AT_A_TIME = 8
_LEAST_FACE = 0.25  # of the size of the person's face, from which a piece of face is somebody else's


class TinyBaseSegmenter:
    """`segmenter.Segmenter` for drawn people.

    Args:
      weights: as in `TrainConfig.weights`, of a base model with a segmenter.

    Raises:
      UserError: the weights cannot be read.
    """

    def __init__(self, weights: str) -> None:
        self._params = read_tensors(weights_directory(weights), ("",), SEGMENTER_FILE)
        self.name = f"tiny_base_segmenter/{weights}"

    def __call__(self, frames: NDArray[np.uint8], boxes: Boxes, shoulders: float = SHOULDERS) -> Parts:
        """As the protocol says."""
        height, width = frames.shape[1:3]
        parts = np.concatenate([self._see(frames[first : first + _FRAMES_AT_A_TIME]) for first in range(0, len(frames), _FRAMES_AT_A_TIME)])
        for frame, (left, top, right, bottom) in zip(parts, boxes, strict=True):
            skull = np.zeros((height, width), bool)
            skull[max(int(top), 0) : max(int(bottom), 0), max(int(left), 0) : max(int(right), 0)] = True
            frame[~_one_person(frame, skull)] = Part.SCENE
        return parts

    def _see(self, frames: NDArray[np.uint8]) -> Parts:
        """The most probable part of every pixel."""
        height, width = frames.shape[1:3]
        rows, columns = (np.arange(SIZE) * size // SIZE for size in (height, width))
        pictures = np.zeros((_FRAMES_AT_A_TIME, SIZE, SIZE, 3), np.uint8)  # always as many, so that it compiles once
        pictures[: len(frames)] = frames[:, rows[:, None], columns]
        parts = np.asarray(self._compiled(self._params, pictures))[: len(frames)]
        rows, columns = (np.arange(size) * SIZE // size for size in (height, width))
        return parts[:, rows[:, None], columns]

    @functools.cached_property
    def _compiled(self) -> Any:
        model = PartSegmenter(len(CLASSES))
        parts = jnp.array([Part[name.upper()] for name in CLASSES], jnp.uint8)
        return jax.jit(lambda params, pictures: parts[jnp.argmax(model.apply({"params": params}, pictures), -1)])


def _one_person(parts: Parts, skull: Masks) -> Masks:
    """The piece of a picture's people, bool[H, W], that has most of a head in `skull`; where people touch, what is nearest to its face."""
    mine = _piece(parts != Part.SCENE, skull & np.isin(parts, HEAD))
    faces = parts == Part.FACE
    own = _piece(faces, skull)
    labels, count = ndimage.label(faces & ~own)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    others = np.isin(labels, np.flatnonzero(sizes > _LEAST_FACE * own.sum()))
    if own.any() and others.any():
        mine &= ndimage.distance_transform_edt(~own) < ndimage.distance_transform_edt(~others)
    return mine


def _piece(mask: Masks, where: Masks) -> Masks:
    """The connected piece of a mask that has most of `where`."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    counts = np.bincount(labels[where], minlength=1)
    counts[0] = 0
    return (labels == counts.argmax()) & (labels > 0)
