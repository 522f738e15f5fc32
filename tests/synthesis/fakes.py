"""Small stand-ins of the backends: people are squares, and the colour of a square is who it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.generators.generator import ClipRequest, MadeClip, Prompt
from pvchat_jax.synthesis.watch.watching import write_clip

SIZE, SQUARE = 112, 50
SUBJECT, ALIKE, OTHER, STRANGER = (220, 40, 40), (220, 130, 40), (40, 60, 220), (40, 200, 60)


class SquareReader:
    """Finds squares of strong colour; the embedding is the colour's direction from grey."""

    name = "squares/1"
    same_person = 0.95
    alike = 0.6
    fewest_pixels = 48
    quality_note = "Squares are read well."

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        return [sorted(_faces(frame), key=lambda face: -face.score) for frame in frames]


def _faces(frame: np.ndarray) -> Iterator[Face]:
    coarse = frame[::2, ::2].astype(np.float32)  # a quarter of the pixels tells as much
    offset = coarse - coarse.mean(axis=2, keepdims=True)
    strong = np.square(offset).sum(axis=2) > 60**2
    left = np.zeros_like(strong)
    left[:, : coarse.shape[1] // 2] = True
    for half in (strong & left, strong & ~left):  # at most one in each half
        rows, columns = np.nonzero(half)
        if len(rows) < 100:
            continue
        direction = np.median(offset[half], axis=0)
        box = (2.0 * columns.min(), 2.0 * rows.min(), 2.0 * columns.max() + 2, 2.0 * rows.max() + 2)
        yield Face(box, None, min(1.0, 4 * len(rows) / SQUARE**2), (direction / np.linalg.norm(direction)).astype(np.float32))


class SquareGenerator:
    """Puts a square of the performer's colour at a place that follows from the seed, on a grey that follows from the prompt.

    The scene `broken` fails, and of the seeds every seventh gives somebody else.
    """

    name = "square_generator/1"
    origin = "composited"
    frames_per_second = 8.0

    def __init__(self) -> None:
        self.made = 0

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        for request in requests:
            self.made += 1
            if request.prompt.scene == "broken":
                yield UserError("the scene 'broken' cannot be drawn; leave it out.")
                continue
            assert request.performer.portraits
            direction = np.array(request.performer.person.embedding)
            colour = (128 + 90 * direction / np.abs(direction).max()).round()
            colour = (40, 200, 200) if request.seed % 7 == 0 else colour
            x, y = (request.seed >> 4) % 4, (request.seed >> 9) % 60
            grey = 60 + 20 * "abcdefgh".index(request.prompt.scene)
            patches = np.random.default_rng(request.seed).integers(-30, 30, (7, 7, 1)).repeat(SIZE // 7, 0).repeat(SIZE // 7, 1)
            frames = [draw(grey, {(x + step // 2, y): colour}, patches) for step in range(request.num_frames)]
            yield MadeClip(np.stack(frames), {"grey": grey, "like": request.counterpart and request.counterpart.seed})


class SceneCaptioner:
    """Says the same of everything."""

    name = "scene_captioner/1"
    leaves_machine = False

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        return ["The person is standing by the wall in a red jacket." for _ in questions]


def scene_prompt(rng: np.random.Generator) -> Prompt:
    """One scene of nine, of which the last is broken."""
    scene = str(rng.choice([*"abcdefgh", "broken"]))
    return Prompt(scene, "stand", f"a person stands in scene {scene}")


def draw(grey: int, squares: dict[tuple[int, int], Sequence[float]], patches: np.ndarray | int = 0) -> np.ndarray:
    """A frame with squares, colour by left upper corner, before a wall of patches."""
    frame = (np.full((SIZE, SIZE, 3), grey) + patches).clip(0, 255).astype(np.uint8)
    for (x, y), colour in squares.items():
        square = frame[y : y + SQUARE, x : x + SQUARE]
        square[:] = colour
        square[18:22, 10:18] = square[18:22, 32:40] = 20  # eyes, so that there is something sharp
    return frame


def film(path: Path, *colours: Sequence[int], num_frames: int = 40, grey: int = 90) -> Path:
    """Writes a video of five seconds in which one or two people move, each in their half."""
    frames = []
    for step in range(num_frames):
        places = [(step % 4, 6 + step), (58 + step % 4, 58 - step)]
        frames.append(draw(grey, dict(zip(places, colours, strict=False))))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, np.stack(frames), 8.0)
    return path
