"""Videos of coloured squares that stand for faces, and a reader that finds them by colour, to test what follows from sightings."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.records import Source
from pvchat_jax.synthesis.watch.watching import watch, write_clip

WIDTH, HEIGHT = 160, 96
RATE = 8.0  # frames a second
COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230), "yellow": (230, 230, 20)}
Boxes = Mapping[str, tuple[int, int, int]]  # left, top and side of each colour's square


def frame_of(boxes: Boxes, background: int = 120) -> np.ndarray:
    """uint8[96, 160, 3]."""
    frame = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
    for colour, (left, top, side) in boxes.items():
        frame[top : top + side, left : left + side] = COLOURS[colour]
    return frame


def film(path: Path, frames: Iterable[np.ndarray]) -> Source:
    write_clip(path, frames, RATE)
    return watch(path)


class ColourReader:
    """Every colour is a person. `scores` holds that of detections by colour, 0.9 where it has none."""

    name = "colour/1"
    same_person = 0.8
    alike = 0.3
    fewest_pixels = 48
    quality_note = "squares are no faces"

    def __init__(self, scores: Mapping[str, float] | None = None) -> None:
        self.scores = scores or {}

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        return [self._read_one(frame) for frame in frames]

    def _read_one(self, frame: np.ndarray) -> list[Face]:
        faces = []
        for number, (colour, rgb) in enumerate(COLOURS.items()):
            rows, columns = np.nonzero(np.abs(frame.astype(int) - rgb).max(axis=-1) < 60)
            if len(rows) > 20:
                box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
                faces.append(Face(box, None, self.scores.get(colour, 0.9), np.eye(len(COLOURS), dtype=np.float32)[number]))
        return sorted(faces, key=lambda face: -face.score)
