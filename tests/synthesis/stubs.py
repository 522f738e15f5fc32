"""A made-up world in which faces are coloured squares, with a reader that finds them and a generator that draws them."""

from collections.abc import Iterator, Sequence

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.generators.generator import ClipRequest, MadeClip, Performer, Prompt
from pvchat_jax.synthesis.records import Person, Shot, Source

RED, ORANGE, GREEN = (1.0, 0.0, 0.0), (0.8, 0.6, 0.0), (0.0, 1.0, 0.0)  # embeddings; the first two have similarity 0.8
SIDE, FACE = 64, 12
PLACES = ((4, 4), (4, 44), (26, 24), (44, 44))  # left and top


class SquareReader:
    """Takes a square of one colour at one of `PLACES` for a face, with the colour as its embedding."""

    name = "squares 1"
    same_person = 0.9
    alike = 0.7
    fewest_pixels = 48
    quality_note = "It reads coloured squares."

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        return [[face for place in PLACES if (face := self._face(frame, place))] for frame in frames]

    def _face(self, frame: np.ndarray, place: tuple[int, int]) -> Face | None:
        left, top = place
        colour = frame[top : top + FACE, left : left + FACE].reshape(-1, 3).mean(0).astype(np.float32)
        if colour.max() - colour.min() < 100:
            return None
        return Face((left, top, left + FACE, top + FACE), None, 1.0, colour / np.linalg.norm(colour))


def draw(*faces: Sequence[tuple[tuple[float, float, float], int]], num_frames: int = 8, seed: int = 0) -> np.ndarray:
    """uint8[T, SIDE, SIDE, 3]: grey shapes that move, and faces as (embedding, index of `PLACES`), all frames alike or `faces[t]` each."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 215, (SIDE // 8, SIDE // 8 + num_frames)).repeat(8, 0).repeat(8, 1)
    frames = np.stack([coarse[:, 4 * time : 4 * time + SIDE] for time in range(num_frames)])[..., None].repeat(3, -1).astype(np.uint8)
    for time, frame in enumerate(frames):
        for embedding, place in faces[time] if len(faces) == num_frames else faces[0]:
            left, top = PLACES[place]
            frame[top : top + FACE, left : left + FACE] = 255 * np.array(embedding) / max(embedding)
    return frames


def performer(
    embedding: tuple[float, ...] = RED, *, num_portraits: int = 2, digest: str = "a" * 64, reader: str = "squares 1"
) -> Performer:
    """Somebody with portraits of noise that follow from the embedding."""
    rng = np.random.default_rng([round(1000 * number) for number in embedding[:8]])
    source = Source(
        video="/videos/a.mp4",
        sha256=digest,
        seconds=1.0,
        lost_seconds=0.0,
        frames_per_second=8.0,
        width=SIDE,
        height=SIDE,
        shots=(Shot(start=0.0, end=1.0),),
    )
    person = Person(index=0, seconds=1.0, tracks=(), embedding=embedding, reader=reader)
    return Performer(source, person, tuple(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8) for _ in range(num_portraits)))


def request(who: Performer | None = None, *, seed: int = 1, num_frames: int = 9, width: int = 32, height: int = 32, action: str = "walk"):
    """A clip to make."""
    prompt = Prompt(scene="park", action=action, text=f"A person walks in a park, take {seed}.")
    return ClipRequest(who or performer(), prompt, seed, num_frames, width, height)


class SquareGenerator:
    """Draws the performer; fails for odd seeds, draws somebody else for multiples of 4, and the same clip for all seeds above 100."""

    name = "squares 1"
    origin = "t2v"
    frames_per_second = 8.0

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        for wanted in requests:
            if wanted.seed % 2:
                yield UserError(f"seed {wanted.seed} is odd; set an even one.")
                continue
            embedding = GREEN if wanted.seed % 4 == 0 else wanted.performer.person.embedding
            frames = draw([(embedding, 2)], num_frames=wanted.num_frames, seed=min(wanted.seed, 100))
            yield MadeClip(frames, {"seed": wanted.seed})
