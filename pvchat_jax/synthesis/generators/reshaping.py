"""Heads in another shape: the features of the face stay as they are, and the outline moves with the hair and the hat that lie on it."""

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from pvchat_jax.synthesis.faces.reader import Outline
from pvchat_jax.synthesis.generators.cutouts import Layer
from pvchat_jax.synthesis.segmenting.opencv import import_opencv
from pvchat_jax.synthesis.segmenting.segmenter import Boxes

Field = NDArray[np.floating]  # float[H, W]

# To where a face stays as it is: what grows has features almost up to the old outline, what shrinks to the new one they are pressed
# together, and upwards, where the eyes end, forehead and hair are stretched.
_GROWS, _SHRINKS, _UP = 0.96, 0.85, 0.5


def reshaped(layer: Layer, boxes: Boxes, before: Outline, after: Outline) -> Layer:
    """The head of a layer with another outline; the chin stays where it is.

    Args:
      boxes: float[T, 4], the skull in the layer without its margins, as it was filmed, of whatever outline.
    """
    cv2 = import_opencv()
    height, wide = layer.alpha.shape[1:]
    width = wide // 2
    before, after = (_in_pixels(outline, width, height) for outline in (before, after))
    origin_x, origin_y = _origins(before, after, height, wide)
    colours, alpha = np.empty_like(layer.colours), np.empty_like(layer.alpha)
    for moment, (left, _, right, chin) in enumerate(boxes):
        x, y = round((left + right) / 2 + width // 2), round(chin - after.radius_y)  # the middle
        part = (slice(height - y, 2 * height - y), slice(wide - x, 2 * wide - x))
        where = [origin_x[part] + np.float32(x), origin_y[part] + np.float32(y + after.radius_y - before.radius_y)]
        colours[moment] = cv2.remap(layer.colours[moment], *where, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        alpha[moment] = cv2.remap(layer.alpha[moment], *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Layer(colours, alpha)


def _in_pixels(outline: Outline, width: int, height: int) -> Outline:
    return dataclasses.replace(outline, radius_x=outline.radius_x * width, radius_y=outline.radius_y * height)


@functools.lru_cache(maxsize=32)
def _origins(before: Outline, after: Outline, height: int, width: int) -> tuple[Field, Field]:
    """`_origin` of all points up to a picture's height and width away from the middle, float32[2 * H, 2 * W]."""
    rows, columns = np.mgrid[-height:height, -width:width]
    x, y = _origin(columns, rows, before, after)
    return x.astype(np.float32), y.astype(np.float32)


def _origin(x: Field, y: Field, before: Outline, after: Outline) -> tuple[Field, Field]:
    """Where in a head of the outline `before` that is what is at `x` and `y` from the middle of one of the outline `after`."""
    distance = np.maximum(np.hypot(x, y), 1e-3)
    across, down = np.where(distance > 1e-3, x / distance, 1.0), y / distance
    old, new = _radius(across, down, before), _radius(across, down, after)
    stays_x, stays_down = _stays(before.radius_x, after.radius_x), _stays(before.radius_y, after.radius_y)
    stays_up = _UP * min(before.radius_y, after.radius_y)
    inner = np.where(down > 0, *(_radius(across, down, Outline(stays_x, stays_y, 2.0)) for stays_y in (stays_down, stays_up)))
    inner = np.minimum(inner, _GROWS * np.minimum(old, new))
    between = inner + (distance - inner) * (old - inner) / (new - inner)
    origin = np.where(distance <= inner, distance, np.where(distance <= new, between, distance + old - new))
    return across * origin, down * origin


def _stays(before: float, after: float) -> float:
    return _GROWS * before if after >= before else _SHRINKS * after


def _radius(across: Field, down: Field, outline: Outline) -> Field:
    """How far the outline is from its middle in the directions given."""
    powers = np.abs(across / outline.radius_x) ** outline.order + np.abs(down / outline.radius_y) ** outline.order
    return powers ** (-1 / outline.order)
