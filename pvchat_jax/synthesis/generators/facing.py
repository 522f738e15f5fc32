"""Faces that move within a head: they nod, with closed eyes as they look down, and turn, which hides the far eye."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.synthesis.generators.cutouts import Layer
from pvchat_jax.synthesis.segmenting.segmenter import Boxes

_TURN, _NOD = 0.4, 0.3  # by up to so many head radii
_CLOSES = 0.4  # of the way down or aside, from which an eye is closed
# Of an eye, in radii of the skull from its middle; as large as eyes can be, since what is covered beside them is skin anyway.
_EYE_X, _EYE_Y, _EYE_WIDTH, _EYE_HEIGHT = 0.48, -0.16, 0.45, 0.36
_LID = 0.93  # as light as the skin


def move_face(layer: Layer, boxes: Boxes, how: str, rng: np.random.Generator, *, lids: bool) -> None:
    """Moves the face within the head: most in its middle, and not at all at the head's outline.

    Args:
      boxes: float[T, 4], the skull in the layer without its margins.
      how: `nod`, `turn` (from side to side), or `left` or `right` (turned all the time).
      lids: whether eyes close, which only drawn ones do where they are expected.
    """
    moments, height, wide = layer.alpha.shape
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + [wide // 4, 0]
    radii = (boxes[0, 2:] - boxes[0, :2]) / 2
    phases = np.sin(2 * np.pi * (rng.random() + rng.uniform(0.3, 0.6) * np.arange(moments)))
    ways = {"left": -np.ones(moments), "right": np.ones(moments)}.get(how, phases)
    for moment, way in enumerate(ways):
        first, last = np.clip(np.floor(middle[moment] - radii), 0, None).astype(int), np.ceil(middle[moment] + radii).astype(int)
        box = (moment, slice(first[1], min(last[1], height)), slice(first[0], min(last[0], wide)))
        rows, columns = np.mgrid[box[1:]].astype(np.float32)
        x, y = (columns - middle[moment, 0]) / radii[0], (rows - middle[moment, 1]) / radii[1]
        if lids:
            _close_eyes(layer.colours[box], x, y, _closed(how, way))
        most = np.sqrt(radii.prod()) * way * np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
        across, down = (0.0, _NOD * most) if how == "nod" else (_TURN * most, 0.0)
        points = [rows - down - first[1], columns - across - first[0]]
        for channel in range(3):
            plane = layer.colours[(*box, channel)]
            plane[...] = np.clip(ndimage.map_coordinates(plane.astype(np.float32), points, order=1, mode="nearest"), 0, 255)


def _closed(how: str, way: float) -> tuple[int, ...]:
    """Which eyes are closed, -1 for the left one in the picture and 1 for the right one."""
    if how == "nod":
        return (-1, 1) if way > _CLOSES else ()
    return (int(np.sign(way)),) if abs(way) > _CLOSES else ()


def _close_eyes(picture: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32], sides: tuple[int, ...]) -> None:
    """Paints lids in the colour of the skin between the eyes; `x` and `y` are in radii from the middle of the skull."""
    between = (np.abs(x) < 0.1) & (np.abs(y) < 0.1)
    if not sides or not between.any():
        return
    lid = _LID * np.median(picture[between], axis=0)
    for side in sides:
        eye = np.square((x - side * _EYE_X) / _EYE_WIDTH) + np.square((y - _EYE_Y) / _EYE_HEIGHT) < 1
        picture[eye] = lid
