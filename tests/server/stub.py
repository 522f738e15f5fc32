"""An assistant without a model, for tests of everything around it: it says words that tell what it was asked."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.errors import UserError
from pvchat_jax.inference.engine import PromptShape, Reply
from pvchat_jax.inference.lane import LaneShape, Said
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.sharding import make_mesh

VERDICTS = {"present": Presence(0.97, "present", 3.5), "absent": Presence(0.02, "absent", -4.0), "unsure": Presence(0.5, "unsure", 0.0)}


class StubEngine:
    """Of a person."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self, seen: Any, rows: Any, shape: PromptShape) -> list[str]:
        """The words of the answer."""
        return rows[0][0].answer.split()


@dataclasses.dataclass(frozen=True)
class Row:
    """Of a question."""

    input_ids: range
    answer: str


@dataclasses.dataclass(frozen=True)
class StubTurn:
    """As `assistant.Turn`."""

    name: str
    presence: Presence
    question: str
    text: str | None
    engine: StubEngine
    row: Row
    seen: None = None

    @property
    def shape(self) -> PromptShape:
        return PromptShape(1, len(self.row.input_ids))


class StubAssistant:
    """Says `NAME: question [source] turns` word by word.

    Attributes:
      verdicts: by name; present where nothing else is said.
      watched: sources of what was looked at.
    """

    num_frames = 4

    def __init__(self, *names: str) -> None:
        self._engines = {name: StubEngine(name) for name in names}
        self.mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
        self.verdicts: dict[str, str] = {}
        self.watched: list[str] = []
        self.on_refresh = lambda: tuple(self._engines)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._engines)

    def refresh(self) -> None:
        """Takes the names that a test says."""
        self._engines = {name: self._engines.get(name) or StubEngine(name) for name in self.on_refresh()}

    def watch_frames(self, windows: Sequence[np.ndarray], times: Sequence[Sequence[float]], source: str) -> list[Watched]:
        """Features are the mean of each window."""
        assert all(len(frames) == self.num_frames for frames in windows)
        self.watched += [source] * len(windows)
        means = [np.full((1, 1, 1), frames.mean(), np.float32) for frames in windows]
        return [Watched(mean, tuple(when), source) for mean, when in zip(means, times, strict=True)]

    def presence(self, watched: Sequence[Watched], name: str) -> list[Presence]:
        """What the test says; where it says `bright`, whether the window is."""
        verdict = self.verdicts.get(name, "present")
        bright = ("present" if item.features.mean() > 100 else "absent" for item in watched)
        return [VERDICTS[shown if verdict == "bright" else verdict] for shown in bright]

    def prepare(self, watched: Watched, names: Sequence[str], question: str, history: Sequence[tuple[str, str]] = ()) -> list[StubTurn]:
        """One turn for each person."""
        if "refuse" in question:
            raise UserError("this question cannot be asked; ask another.")
        if "crash" in question:
            raise RuntimeError("a defect")
        return [self._turn(watched, name, question, history) for name in names]

    def _turn(self, watched: Watched, name: str, question: str, history: Sequence[tuple[str, str]]) -> StubTurn:
        presence = self.presence([watched], name)[0]
        text = None if presence.verdict == "present" else f"{name} is {presence.verdict}."
        said = f"{name}: {question} [{watched.source}] {len(history)}"
        return StubTurn(name, presence, question, text, self._engines[name], Row(range(len(question.split())), said))


class Pace:
    """Whether lanes step as they like, or only as often as a test lets them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left: int | None = None  # steps; None for any number

    def wait(self) -> None:
        """Returns when a step may be made."""
        with self._changed:
            self._changed.wait_for(lambda: self._left != 0)
            self._left = None if self._left is None else self._left - 1

    def step(self) -> None:
        """Lets one more step be made while the lanes are held."""
        with self._changed:
            self._left += 1
            self._changed.notify_all()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No lane steps meanwhile, unless `step` lets it."""
        self._left = 0
        try:
            yield
        finally:
            with self._changed:
                self._left = None
                self._changed.notify_all()


class StubLane:
    """Says a word of each answer in each step.

    Attributes:
      pace: when steps are made.
      most_taken: slots that were taken together at some time.
      all: every lane that was made.
    """

    pace: Pace
    all: list["StubLane"]

    def __init__(self, engine: StubEngine, shape: LaneShape) -> None:
        self.engine, self._shape = engine, shape
        self._seats: dict[int, tuple[list[str], int, DecodingOptions, bool]] = {}
        self.most_taken = 0
        type(self).all.append(self)

    @property
    def num_taken(self) -> int:
        return len(self._seats)

    @property
    def num_free(self) -> int:
        return self._shape.num_slots - len(self._seats)

    def join(self, asked: list[str], options: DecodingOptions, *, is_streamed: bool = False) -> int:
        """Takes the first free slot."""
        slot = min(set(range(self._shape.num_slots)) - self._seats.keys())
        self._seats[slot] = (asked[: options.max_new_tokens], 0, options, is_streamed)
        self.most_taken = max(self.most_taken, len(self._seats))
        return slot

    def leave(self, *slots: int) -> None:
        """Frees them."""
        for slot in slots:
            self._seats.pop(slot, None)

    def advance(self, num_steps: int) -> list[Said]:
        """One word each, however many steps there may be."""
        self.pace.wait()
        said = []
        for slot, (words, sent, options, is_streamed) in list(self._seats.items()):
            piece = (" " if sent else "") + words[sent] if is_streamed else ""
            reply = None
            if sent + 1 == len(words):
                reply = Reply(" ".join(words), tuple(range(len(words))), len(words) < options.max_new_tokens)
                del self._seats[slot]
            else:
                self._seats[slot] = (words, sent + 1, options, is_streamed)
            said.append(Said(slot, piece, reply))
        return said


def lanes() -> type[StubLane]:
    """A kind of lane with a pace of its own, which notes its instances."""
    return type("Lanes", (StubLane,), {"all": [], "pace": Pace()})


def write_clip(path: Path, greys: Sequence[int] = (40, 200), frames_each: int = 12, size: int = 64) -> Path:
    """A video at 12 frames a second that shows one grey after the other."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if path.suffix != ".webm" else "libvpx", rate=12)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for grey in greys:
            for _ in range(frames_each):
                image = np.full((size, size, 3), grey, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
