"""Antialiased shapes on planar float images, drawn for all frames of a clip at once.

Coordinates are in units of which the picture is `UNITS` wide and high, whatever its size in pixels; y points down. A coordinate
is a number or `float[T]`, one value per frame. What makes a clip cost milliseconds in numpy: each shape is computed on its
bounding box over all frames alone, terms in x or y alone stay small until the last step, and frames are the last axis, so that
the box of a shape is a few long runs of memory.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNITS = 128.0

FloatArray = NDArray[np.float32]
Coordinate = float | FloatArray
Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Mask:
    """Coverage of a box of the canvas.

    Attributes:
      rows, columns: the box in pixels.
      alpha: float[h, w, T] coverage in 0..1; T is 1 if the shape does not move.
      dx, dy: float[1, w, T] and float[h, 1, T], distance to the shape's centre in units.
      pixels: pixels per unit.
    """

    rows: slice
    columns: slice
    alpha: FloatArray
    dx: FloatArray
    dy: FloatArray
    pixels: float

    def times(self, alpha: FloatArray) -> "Mask":
        """This mask where `alpha` (broadcastable to `self.alpha`) covers it too."""
        alpha = alpha if self.alpha is _EVERYWHERE else self.alpha * alpha
        return Mask(self.rows, self.columns, alpha, self.dx, self.dy, self.pixels)

    def edge(self, distance: FloatArray) -> FloatArray:
        """Coverage of the half where `distance` (in units) is negative, with a soft edge one pixel wide."""
        alpha = distance * np.float32(-self.pixels)
        alpha += np.float32(0.5)
        np.maximum(alpha, np.float32(0.0), out=alpha)
        return np.minimum(alpha, np.float32(1.0), out=alpha)

    def above(self, y: Coordinate) -> "Mask":
        """The part less than `y` below the centre."""
        return self.times(self.edge(self.dy - y))

    def below(self, y: Coordinate) -> "Mask":
        """The part more than `y` below the centre."""
        return self.times(self.edge(y - self.dy))


@dataclasses.dataclass(frozen=True)
class Canvas:
    """An image sequence under construction.

    Attributes:
      planes: float[3, H, W, T], red, green and blue in 0..1.
      left: x coordinate of the left edge in units; negative for backgrounds that are wider than the picture.
    """

    planes: FloatArray
    left: float = 0.0

    @functools.cached_property
    def pixels(self) -> float:
        """Pixels per unit."""
        return self.planes.shape[1] / UNITS

    def paint(self, mask: Mask | None, colour: Colour, *, shade: float = 0.0, opacity: float = 1.0) -> None:
        """Blends `colour` into the canvas where `mask` covers it.

        Args:
          mask: None (a shape outside the picture) paints nothing.
          colour: red, green, blue in 0..1.
          shade: by how much of `colour` the shape darkens per 32 units to the right, as if lit from the left.
          opacity: 0..1.
        """
        if mask is None:
            return
        alpha = mask.alpha if opacity == 1.0 else mask.alpha * np.float32(opacity)
        light = _light(mask.dx, shade) if shade else np.float32(1.0)
        region = self.planes[:, mask.rows, mask.columns]
        change = np.asarray(colour, np.float32)[:, None, None, None] * light - region
        change *= alpha
        region += change

    @functools.cached_property
    def _xs(self) -> FloatArray:
        return (np.arange(self.planes.shape[2], dtype=np.float32) + np.float32(0.5)) / np.float32(self.pixels) + np.float32(self.left)

    @functools.cached_property
    def _ys(self) -> FloatArray:
        return (np.arange(self.planes.shape[1], dtype=np.float32) + np.float32(0.5)) / np.float32(self.pixels)

    def box(self, x: Coordinate, y: Coordinate, reach_x: float, reach_y: float) -> Mask | None:
        """Full coverage of the pixels within `reach` of (x, y) in any frame; None if they are outside the picture."""
        height, width = self.planes.shape[1:3]
        (first_x, last_x), (first_y, last_y) = _range(x), _range(y)
        rows = self._pixels_between(first_y - reach_y, last_y + reach_y, height)
        columns = self._pixels_between(first_x - reach_x - self.left, last_x + reach_x - self.left, width)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        dx = self._xs[None, columns, None] - np.asarray(x, np.float32)
        dy = self._ys[rows, None, None] - np.asarray(y, np.float32)
        return Mask(rows, columns, _EVERYWHERE, dx, dy, self.pixels)

    def _pixels_between(self, first: float, last: float, size: int) -> slice:
        return slice(max(int(first * self.pixels) - 1, 0), min(int(last * self.pixels) + 2, size))


_EVERYWHERE = np.ones((1, 1, 1), np.float32)


def _light(dx: FloatArray, shade: float) -> FloatArray:
    """Factor on a colour, float[1, w, T], that darkens it to the right."""
    darker = dx * np.float32(shade / 32.0)
    np.maximum(darker, np.float32(-0.12), out=darker)
    np.minimum(darker, np.float32(0.3), out=darker)
    return np.subtract(np.float32(1.0), darker, out=darker)


def _range(value: Coordinate) -> tuple[float, float]:
    return (value, value) if isinstance(value, float) else (float(value.min()), float(value.max()))


def ellipse(canvas: Canvas, x: Coordinate, y: Coordinate, radius_x: float, radius_y: float, *, square: bool = False) -> Mask | None:
    """An ellipse around (x, y); `square` makes it a superellipse of order 4, a rectangle with very round corners."""
    smaller = min(radius_x, radius_y)
    soft = 1 + 0.5 / (canvas.pixels * smaller)  # at the ends of a flat ellipse the soft edge is wider than a pixel
    box = canvas.box(x, y, radius_x * soft, radius_y * soft)
    if box is None:
        return None
    u = np.square(box.dx / np.float32(radius_x))
    v = np.square(box.dy / np.float32(radius_y))
    if square:
        u, v = np.square(u), np.square(v)
    level = u + v
    np.sqrt(level, out=level)
    if square:
        np.sqrt(level, out=level)
    level -= np.float32(1.0)
    level *= np.float32(smaller)
    return box.times(box.edge(level))


def rectangle(canvas: Canvas, x: Coordinate, y: Coordinate, half_width: float, half_height: float) -> Mask | None:
    """An axis-aligned rectangle around (x, y)."""
    box = canvas.box(x, y, half_width, half_height)
    if box is None:
        return None
    return box.times(box.edge(np.abs(box.dx) - np.float32(half_width)) * box.edge(np.abs(box.dy) - np.float32(half_height)))


def capsule(canvas: Canvas, start: tuple[Coordinate, Coordinate], end: tuple[Coordinate, Coordinate], radius: float) -> Mask | None:
    """A line from `start` to `end` with round ends, such as an arm."""
    x0, y0, x1, y1 = (np.asarray(value, np.float32) for value in (*start, *end))
    reach_x = float(np.max(np.abs(x1 - x0))) / 2 + radius
    reach_y = float(np.max(np.abs(y1 - y0))) / 2 + radius
    box = canvas.box((x0 + x1) / 2, (y0 + y1) / 2, reach_x, reach_y)
    if box is None:
        return None
    half_x, half_y = (x1 - x0) / 2, (y1 - y0) / 2
    length = np.maximum(np.square(half_x) + np.square(half_y), np.float32(1e-6))
    along = box.dx * (half_x / length) + box.dy * (half_y / length)
    np.maximum(along, np.float32(-1.0), out=along)
    np.minimum(along, np.float32(1.0), out=along)
    across_x = along * half_x
    np.square(np.subtract(box.dx, across_x, out=across_x), out=across_x)
    across_y = np.multiply(along, half_y, out=along)
    np.square(np.subtract(box.dy, across_y, out=across_y), out=across_y)
    distance = np.sqrt(np.add(across_x, across_y, out=across_x), out=across_x)
    distance -= np.float32(radius)
    return box.times(box.edge(distance))


def polygon(canvas: Canvas, corners: Sequence[tuple[float, float]], x: Coordinate = 0.0, y: Coordinate = 0.0) -> Mask | None:
    """A convex polygon; `corners` go clockwise on the screen and are moved by (x, y)."""
    points = np.asarray(corners, np.float32)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = (points.max(axis=0) - points.min(axis=0)) / 2
    box = canvas.box(x + centre[0], y + centre[1], float(reach[0]), float(reach[1]))
    if box is None:
        return None
    points = points - centre
    alpha = box.alpha
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        length = np.hypot(x1 - x0, y1 - y0)
        across_x, across_y = (y1 - y0) / length, (x0 - x1) / length
        alpha = alpha * box.edge((box.dx - x0) * across_x + (box.dy - y0) * across_y)
    return box.times(alpha)


def gradient(canvas: Canvas, top: Colour, bottom: Colour, y0: float = 0.0, y1: float = UNITS) -> None:
    """Fills the rows from `y0` to `y1` with colours from `top` to `bottom`."""
    pixels = canvas.pixels
    rows = slice(max(round(y0 * pixels), 0), min(round(y1 * pixels), canvas.planes.shape[1]))
    ramp = np.linspace(0.0, 1.0, rows.stop - rows.start, dtype=np.float32)[:, None, None]
    for plane, first, last in zip(canvas.planes, top, bottom, strict=True):
        plane[rows] = np.float32(first) + np.float32(last - first) * ramp


def rgb(code: str) -> Colour:
    """`"ff8000"` -> (1.0, 0.5, 0.0)."""
    red, green, blue = (int(code[start : start + 2], 16) / 255 for start in (0, 2, 4))
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` of it replaced by `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue
