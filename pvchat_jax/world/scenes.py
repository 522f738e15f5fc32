"""Backgrounds: eight places that differ in colour and layout, each with a random arrangement."""

from collections.abc import Callable, Mapping

import numpy as np

from pvchat_jax.world.shapes import UNITS, Canvas, Colour, capsule, ellipse, gradient, polygon, rectangle, rgb

MARGIN = 10.0  # units drawn beyond the left and right edge, for the camera to drift over
WHITE = rgb("ffffff")


def _scatter(rng: np.random.Generator, count: int, jitter: float) -> np.ndarray:
    """`count` roughly even x coordinates across the background, float[count]."""
    step = (UNITS + 2 * MARGIN) / count
    return -MARGIN + step * (np.arange(count) + 0.5) + rng.uniform(-jitter, jitter, count)


def _cloud(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    for offset, height, radius in ((-1.1, 0.2, 0.7), (0.0, 0.0, 1.0), (1.1, 0.25, 0.65)):
        canvas.paint(ellipse(canvas, x + offset * size, y + height * size, radius * size * 1.2, radius * size * 0.8), colour, opacity=0.9)


def _beach(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("6cc5f0"), rgb("cdeefa"), 0, 62)
    canvas.paint(ellipse(canvas, rng.uniform(0, UNITS), rng.uniform(12, 22), 10, 10), rgb("fff3a6"))
    _cloud(canvas, rng.uniform(0, UNITS), rng.uniform(16, 34), rng.uniform(7, 10), WHITE)
    gradient(canvas, rgb("1f9fbf"), rgb("4fd0cf"), 58, 84)
    sail = rng.uniform(0, UNITS)
    canvas.paint(polygon(canvas, [(0, -16), (10, -1), (0, -1)], sail, 58.0), WHITE)
    canvas.paint(rectangle(canvas, sail + 3.0, 59.0, 9, 2), rgb("b5532f"))
    gradient(canvas, rgb("f7e2a6"), rgb("e9c877"), 82, 128)
    for x in _scatter(rng, 5, 6):
        canvas.paint(ellipse(canvas, float(x), 83.0, 20, 3.2), rgb("eafaf5"))
        canvas.paint(ellipse(canvas, float(x), rng.uniform(98, 124), 2.2, 1.4), rgb("d9b25f"))


def _forest(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("a9d9a0"), rgb("4f9a57"), 0, 100)
    for x in _scatter(rng, 7, 5):
        canvas.paint(rectangle(canvas, float(x), 60.0, rng.uniform(2.0, 3.0), 40), rgb("5d7a4a"))
    for x in _scatter(rng, 8, 6):
        canvas.paint(ellipse(canvas, float(x), rng.uniform(2, 16), 15, 16), rgb("3a8447"))
    for x in _scatter(rng, 4, 9):
        canvas.paint(rectangle(canvas, float(x), 60.0, rng.uniform(4.0, 5.5), 50), rgb("6b4429"))
    for x in _scatter(rng, 5, 8):
        canvas.paint(ellipse(canvas, float(x), rng.uniform(-4, 6), 20, 17), rgb("236b38"))
    gradient(canvas, rgb("3d7f37"), rgb("2c5f2b"), 98, 128)
    for x in _scatter(rng, 6, 8):
        canvas.paint(ellipse(canvas, float(x), 100.0, 11, rng.uniform(5, 9)), rgb("3d7f37"))


def _street(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("c3d3de"), rgb("e9edf0"), 0, 104)
    palette = [rgb(code) for code in ("9b6a5b", "7d8793", "b59a7a", "8a7f94", "6f8489")]
    order = rng.permutation(len(palette))
    for number, x in enumerate(_scatter(rng, 4, 2)):
        wall = palette[order[number]]
        top = rng.uniform(4, 34)
        canvas.paint(rectangle(canvas, float(x), (top + 106) / 2, 17, (106 - top) / 2), wall)
        pane = rgb("fbe7a1") if rng.random() < 0.5 else rgb("d7ecf7")
        for floor in np.arange(top + 9, 92, 15):
            for offset in (-9.0, 0.0, 9.0):
                canvas.paint(rectangle(canvas, float(x) + offset, float(floor), 2.8, 4.2), pane)
    gradient(canvas, rgb("b9b7b3"), rgb("b9b7b3"), 102, 108)
    gradient(canvas, rgb("5a5c63"), rgb("484a51"), 108, 128)
    for x in _scatter(rng, 5, 2):
        canvas.paint(rectangle(canvas, float(x), 119.0, 8, 1.4), rgb("f4f1e4"))


def _kitchen(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("fbe6c4"), rgb("f6d6a6"))
    for x in np.arange(-MARGIN, UNITS + MARGIN, 12.0):
        canvas.paint(rectangle(canvas, float(x), 66.0, 0.6, 26), rgb("e8bd8a"))
    for y in (44.0, 56.0, 68.0, 80.0):
        canvas.paint(rectangle(canvas, UNITS / 2, y, UNITS, 0.6), rgb("e8bd8a"))
    for x in _scatter(rng, 4, 0):
        canvas.paint(rectangle(canvas, float(x), 18.0, 17.2, 19), rgb("3f8f8b"))
        canvas.paint(rectangle(canvas, float(x), 18.0, 13.5, 15), rgb("56a8a2"))
        canvas.paint(ellipse(canvas, float(x) + 9, 32.0, 1.8, 1.8), rgb("f3efe2"))
    for x in _scatter(rng, 4, 4):
        colour = [rgb(code) for code in ("d9483b", "f3efe2", "e2a52c", "7a9a3a")][int(rng.integers(4))]
        canvas.paint(ellipse(canvas, float(x), 84.0, 5.5, rng.uniform(6, 10), square=True), colour)
    gradient(canvas, rgb("a5673a"), rgb("a5673a"), 91, 97)
    gradient(canvas, rgb("3f8f8b"), rgb("337570"), 97, 128)


def _office(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("dfe3ec"), rgb("c9cfdd"))
    window = rng.uniform(20, 108)
    canvas.paint(rectangle(canvas, window, 34.0, 30, 24), rgb("f8f9fb"))
    canvas.paint(rectangle(canvas, window, 34.0, 27, 21), rgb("9fc6ea"))
    for y in np.arange(17.0, 54.0, 6.0):
        canvas.paint(rectangle(canvas, window, float(y), 27, 1.5), rgb("f1f4f8"))
    shelf = window + 64 if window < UNITS / 2 else window - 64
    canvas.paint(rectangle(canvas, shelf, 52.0, 21, 42), rgb("8b6b52"))
    for y in (26.0, 52.0, 78.0):
        canvas.paint(rectangle(canvas, shelf, y, 18.5, 11), rgb("5e4735"))
        for offset in np.arange(-15.0, 16.0, 6.0):
            colour = [rgb(code) for code in ("b6433f", "2f5d8c", "d8b04a", "5b8f6a", "ded7c8")][int(rng.integers(5))]
            canvas.paint(rectangle(canvas, shelf + float(offset), y + 2, 2.5, 8.5), colour)
    gradient(canvas, rgb("4f5b78"), rgb("434d67"), 100, 128)


def _snow(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("8fa9d6"), rgb("e3ebf7"), 0, 100)
    for x in _scatter(rng, 3, 12):
        height = rng.uniform(46, 66)
        canvas.paint(polygon(canvas, [(0, -height), (46, 0), (-46, 0)], float(x), 96.0), rgb("7488b3"))
        canvas.paint(polygon(canvas, [(0, -height), (17, -height * 0.63), (-17, -height * 0.63)], float(x), 96.0), rgb("f6f9ff"))
    for x in _scatter(rng, 5, 9):
        for level, width in ((0.0, 11.0), (-10.0, 8.5), (-19.0, 6.0)):
            canvas.paint(polygon(canvas, [(0, -16), (width, 0), (-width, 0)], float(x), 102.0 + level), rgb("2f5d62"))
    gradient(canvas, rgb("f7faff"), rgb("dfe8f5"), 98, 128)
    for _ in range(26):
        canvas.paint(ellipse(canvas, rng.uniform(-MARGIN, UNITS + MARGIN), rng.uniform(0, 100), 1.5, 1.5), WHITE)


def _desert(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("f08a4b"), rgb("fbd28b"), 0, 96)
    canvas.paint(ellipse(canvas, rng.uniform(4, UNITS - 4), rng.uniform(22, 44), 15, 15), rgb("fff0c2"))
    for x in _scatter(rng, 3, 12):
        canvas.paint(rectangle(canvas, float(x), 82.0, rng.uniform(12, 18), rng.uniform(12, 24)), rgb("b4532f"))
    gradient(canvas, rgb("dd9a4f"), rgb("c47a3a"), 90, 128)
    for x in _scatter(rng, 3, 12):
        canvas.paint(ellipse(canvas, float(x), 92.0, 38, 7), rgb("dd9a4f"))
    for x in _scatter(rng, 2, 14):
        green = rgb("3d7a48")
        canvas.paint(capsule(canvas, (float(x), 66.0), (float(x), 112.0), 5), green)
        canvas.paint(capsule(canvas, (float(x) + 12, 74.0), (float(x) + 12, 86.0), 3.6), green)
        canvas.paint(capsule(canvas, (float(x) + 12, 87.0), (float(x), 91.0), 3.6), green)
        canvas.paint(capsule(canvas, (float(x) - 11, 82.0), (float(x) - 11, 94.0), 3.4), green)
        canvas.paint(capsule(canvas, (float(x) - 11, 95.0), (float(x), 98.0), 3.4), green)


def _stage(canvas: Canvas, rng: np.random.Generator) -> None:
    gradient(canvas, rgb("6d1028"), rgb("8f1834"), 0, 104)
    for x in _scatter(rng, 11, 2):
        canvas.paint(capsule(canvas, (float(x), -10.0), (float(x), 100.0), 3.6), rgb("a82441"), opacity=0.8)
        canvas.paint(rectangle(canvas, float(x) + 5, 50.0, 1.2, 54), rgb("4b0a1c"), opacity=0.7)
    for x in _scatter(rng, 5, 0):
        canvas.paint(ellipse(canvas, float(x), -2.0, 17, 15), rgb("c2952f"))
        canvas.paint(ellipse(canvas, float(x), -4.0, 15, 13), rgb("8f1834"))
    spot = rng.uniform(20, 108)
    canvas.paint(polygon(canvas, [(-6, 0), (6, 0), (44, 112), (-44, 112)], spot, 0.0), rgb("fff0c4"), opacity=0.22)
    gradient(canvas, rgb("8a5a34"), rgb("6b4325"), 104, 128)
    canvas.paint(ellipse(canvas, spot, 114.0, 46, 8), rgb("fff0c4"), opacity=0.35)


SCENES: Mapping[str, Callable[[Canvas, np.random.Generator], None]] = {
    "beach": _beach,
    "forest": _forest,
    "street": _street,
    "kitchen": _kitchen,
    "office": _office,
    "snow": _snow,
    "desert": _desert,
    "stage": _stage,
}


def draw_scene(name: str, size: int, rng: np.random.Generator) -> Canvas:
    """Paints a background `MARGIN` units wider on both sides than a picture of `size` pixels; one frame."""
    margin = round(MARGIN * size / UNITS)
    canvas = Canvas(np.zeros((3, size, size + 2 * margin, 1), np.float32), left=-margin * UNITS / size)
    SCENES[name](canvas, rng)
    canvas.planes[...] *= rng.uniform(0.93, 1.0, 3).astype(np.float32)[:, None, None, None]
    return canvas
