"""Questions about people in videos: who is there is decided by calibrated odds, and what is described only where somebody is."""

import dataclasses
import datetime
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pvchat_jax.assistant import wording
from pvchat_jax.assistant.people_over_base import PeopleOverBase, prompt_row
from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched, read_window
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.data.conversation import TextRow
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.tokenizer import SubjectTokenizer, load_tokenizer
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import PresenceCalibration, read_calibration
from pvchat_jax.evaluation.probes import PROBES, yes_no_ids
from pvchat_jax.inference.buckets import bucket
from pvchat_jax.inference.engine import Engine, PromptShape, Seen
from pvchat_jax.inference.engine import Reply as Said
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.registry.names import is_same, resolve
from pvchat_jax.registry.person import PERSON_FILES, Person
from pvchat_jax.registry.registry import Registry
from pvchat_jax.sharding import make_mesh, mesh_context

_BATCHES = (1, 4, 16)  # videos at a time, each of which compiles once
_LONGEST_QUESTION = 512  # tokens
_SEEN_KEPT = 8  # prefixes of videos, by person


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
      presence: by name, of everybody who was asked about.
      is_complete: False where it was cut off after `max_new_tokens`.
      num_prompt_tokens, num_tokens: read and written, of all the people together; a sentence that the model did not write has none.
    """

    text: str
    presence: dict[str, Presence]
    is_complete: bool
    num_prompt_tokens: int
    num_tokens: int


@dataclasses.dataclass(frozen=True)
class Turn:
    """What answers a question about one person: `text` where it is decided, otherwise `engine` continues `row` about what was `seen`.

    Attributes:
      question: put to this person alone.
    """

    name: str
    presence: Presence
    question: str
    text: str | None
    engine: Engine
    seen: Seen
    row: TextRow

    @property
    def shape(self) -> PromptShape:
        """To what the row is padded; questions of most lengths share a few."""
        return _shape(self.engine, [self.row])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Loaded:
    """A person in memory, and what their files on disk were like."""

    tokenizer: SubjectTokenizer
    engine: Engine
    yes_no: tuple[int, int]
    person: Person
    calibration: PresenceCalibration
    on_disk: tuple[Any, ...]


@dataclasses.dataclass(eq=False)
class _Look:
    """A video that is kept because it may be asked about again."""

    watched: Watched
    seen: Seen
    log_odds: float | None = None


class Assistant:
    """A base model with the people of a registry. Thread-safe only from one worker thread.

    Attributes:
      num_frames: that the model sees of a video or a window.
      mesh: calls that touch the model are made within its `mesh_context`.
    """

    def __init__(self, registry: Registry, people: PeopleOverBase, mesh: jax.sharding.Mesh, config: TrainConfig) -> None:
        self._registry = registry
        self._people = people
        self.mesh = mesh
        self._config = config
        self._loaded: dict[str, _Loaded] = {}
        self._looks: OrderedDict[tuple[int, str], _Look] = OrderedDict()
        self.num_frames: int = config.data.num_frames
        self.refresh()

    @classmethod
    def open(cls, registry: Registry, *, mesh: jax.sharding.Mesh | None = None) -> "Assistant":
        """Loads the base of the registry and its people.

        Args:
          mesh: where the parameters go; None takes the first device alone.

        Raises:
          UserError: nobody was ever enrolled, or the base or a pack cannot be read.
        """
        base = registry.base
        if base is None:
            raise UserError(f"nobody is enrolled in {registry.folder}; add somebody with: python -m pvchat_jax.subjects add RUN_OR_PACK")
        mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1]) if mesh is None else mesh
        return cls(registry, PeopleOverBase(base, [person.folder for person in registry.people()], mesh), mesh, base.config)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the people in memory, such as `<Wilson>`."""
        return tuple(self._loaded)

    def refresh(self) -> None:
        """Takes in who was added on disk, and forgets who was erased, renamed or changed there."""
        current = {person.name: person for person in self._registry.people()}
        stale = [name for name, loaded in self._loaded.items() if not _is_same_pack(current.get(name), loaded)]
        for name in stale:
            self._drop(name)
        for name, person in current.items():
            known = self._loaded.get(name)
            self._loaded[name] = self._load(person) if known is None else dataclasses.replace(known, **_changing(person))
        self._loaded = {name: self._loaded[name] for name in current}

    def watch(self, path: Path, *, start: float | None = None, end: float | None = None) -> Watched:
        """Looks at a video, or at what it shows from `start` to before `end`, in seconds.

        Raises:
          UserError: it cannot be read, or shows nothing then.
        """
        window = read_window(path, self.num_frames, start, end)
        return self.watch_frames([window.frames], [window.times], str(path))[0]

    def watch_frames(self, windows: Sequence[np.ndarray], times: Sequence[Sequence[float]], source: str) -> list[Watched]:
        """Looks at windows of a video, several at a time.

        Args:
          windows: uint8[T, H, W, 3] each, with T = `num_frames`.
          times: of the frames of each window, in seconds.
        """
        data = self._config.data
        clips = [preprocess_frames(frames, data.image_size, data.tile_grid) for frames in windows]
        features: list[np.ndarray] = []
        with mesh_context(self.mesh):
            for batch in _in_batches(clips):
                encoded = self._people.engine.encode(np.stack(_fill(batch)))
                features.extend(np.asarray(encoded)[: len(batch)])
        return [Watched(array, tuple(map(float, when)), source) for array, when in zip(features, times, strict=True)]

    def presence(self, watched: Sequence[Watched], name: str) -> list[Presence]:
        """Whether a person is in each of the videos.

        Raises:
          UserError: nobody has this name, or the consent does not cover today.
        """
        calibration = self._use(name).calibration
        return [Presence(calibration.probability(odds), calibration.verdict(odds), odds) for odds in self.log_odds(watched, name)]

    def log_odds(self, watched: Sequence[Watched], name: str) -> list[float]:
        """The model's own log-odds of "Yes" in nats: the mean over the probes, for each video."""
        loaded = self._use(name)
        if len(watched) == 1:
            look = self._look(watched[0], loaded)
            if look.log_odds is None:
                look.log_odds = self._probe(look.seen, 1, loaded)[0]
            return [look.log_odds]
        odds: list[float] = []
        for batch in _in_batches(watched):
            odds.extend(self._probe(self._see(_fill(batch), loaded), len(batch), loaded))
        return odds

    def prepare(self, watched: Watched, names: Sequence[str], question: str, history: Sequence[tuple[str, str]] = ()) -> list[Turn]:
        """How each of the people is asked, in the order of `names`; `reply` and `stream` decode what this leaves open.

        Args:
          history: earlier questions with their answers. No run was trained on more than one turn, and a model that is shown earlier
            ones answers worse (of 40 questions about what the tiny model's person does, 8 were right after one turn, and 40 without), so
            all that is taken from them is what a question such as "And Ada?" leaves out.

        Raises:
          UserError: nobody has one of the names, a consent does not cover today, or the question cannot be asked.
        """
        if not names or not question.strip():
            raise UserError("a question needs words and the name of somebody who is enrolled.")
        asked = [self._use(name) for name in names]
        own = list(dict.fromkeys(loaded.person.name for loaded in asked))
        whole = wording.complete(question, [earlier for earlier, _ in history], self.names)
        return [self._turn(watched, self._loaded[name], own, whole) for name in own]

    def reply(
        self, watched: Watched, names: Sequence[str], question: str, options: DecodingOptions, history: Sequence[tuple[str, str]] = ()
    ) -> Reply:
        """Answers a question about one or several people.

        Raises:
          UserError: as `prepare`, which says what `history` is for.
        """
        turns = self.prepare(watched, names, question, history)
        texts: dict[str, str] = {}
        is_complete, num_tokens = True, 0
        for turn in turns:
            if turn.text is not None:
                texts[turn.name] = turn.text
                continue
            with mesh_context(self.mesh):
                said = turn.engine.answer(turn.engine.ask(turn.seen, [[turn.row]], turn.shape), options)[0][0]
            texts[turn.name] = _label(turn, turns) + said.text.strip()
            is_complete, num_tokens = is_complete and said.is_complete, num_tokens + len(said.tokens)
        return _reply(turns, _joined(turns, texts), is_complete, num_tokens)

    def stream(
        self, watched: Watched, names: Sequence[str], question: str, options: DecodingOptions, history: Sequence[tuple[str, str]] = ()
    ) -> Generator[str, None, Reply]:
        """The text of `reply` in pieces as they arise; the reply itself is what the generator returns.

        Raises:
          UserError: as `prepare`, at the first piece.
        """
        turns = self.prepare(watched, names, question, history)
        if all(turn.text is not None for turn in turns):
            text = _joined(turns, {turn.name: turn.text or "" for turn in turns})
            yield text
            return _reply(turns, text, True, 0)
        texts: list[str] = []
        is_complete, num_tokens = True, 0
        for turn in turns:
            if texts:
                yield "\n"
            if turn.text is not None:
                texts.append(turn.text)
                yield turn.text
                continue
            label = _label(turn, turns)
            said = yield from self._pieces(turn, options, label)
            texts.append(label + said.text.strip())
            is_complete, num_tokens = is_complete and said.is_complete, num_tokens + len(said.tokens)
        return _reply(turns, "\n".join(texts), is_complete, num_tokens)

    def _pieces(self, turn: Turn, options: DecodingOptions, label: str) -> Generator[str, None, Said]:
        """The answer in pieces after `label`, without spaces before its first word."""
        with mesh_context(self.mesh):
            pieces = turn.engine.stream(turn.engine.ask(turn.seen, [[turn.row]], turn.shape), options)
        before: str | None = label
        while True:
            try:
                with mesh_context(self.mesh):
                    piece = next(pieces)
            except StopIteration as end:
                return end.value
            if before is not None and (piece := piece.lstrip()):
                piece, before = before + piece, None
            if piece:
                yield piece

    def _turn(self, watched: Watched, loaded: _Loaded, names: Sequence[str], question: str) -> Turn:
        name = loaded.person.name
        presence = self.presence([watched], name)[0]
        text = wording.about(question, name, names)
        row = prompt_row(loaded.tokenizer, self._config, text)
        said = wording.decided(text, name, presence.verdict)
        turn = Turn(name, presence, text, said, loaded.engine, self._look(watched, loaded).seen, row)
        if turn.shape.length > _LONGEST_QUESTION:
            raise UserError(f"the question {text[:60]!r}... is too long: at most {_LONGEST_QUESTION} tokens are read; shorten it.")
        return turn

    def _use(self, name: str) -> _Loaded:
        """A person who may be asked about today; what other processes changed on disk is taken in first."""
        known = [loaded for other, loaded in self._loaded.items() if is_same(name, other)]
        if not known or known[0].on_disk != _on_disk(known[0].person.folder):
            self.refresh()
        loaded = self._loaded[resolve(name, self._loaded)]
        loaded.person.require_usable(datetime.date.today())
        return loaded

    def _load(self, person: Person) -> _Loaded:
        tokenizer = load_tokenizer(self._config.data.tokenizer, [person.name])
        engine = self._people.put_on(person.folder, tokenizer)
        style = self._config.data.prompt_style
        return _Loaded(tokenizer=tokenizer, engine=engine, yes_no=yes_no_ids(tokenizer, style), **_changing(person))

    def _drop(self, name: str) -> None:
        self._loaded.pop(name, None)
        self._looks = OrderedDict((key, look) for key, look in self._looks.items() if key[1] != name)

    def _look(self, watched: Watched, loaded: _Loaded) -> _Look:
        """The video as the person's pack sees it, once for all questions."""
        key = (id(watched), loaded.person.name)
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = _Look(watched, self._see([watched], loaded))
            if len(self._looks) > _SEEN_KEPT:
                self._looks.popitem(last=False)
        self._looks.move_to_end(key)
        return look

    def _see(self, watched: Sequence[Watched], loaded: _Loaded) -> Seen:
        features = np.stack([item.features for item in watched]).astype(self._config.compute_dtype)
        with mesh_context(self.mesh):
            return loaded.engine.see(features)

    def _probe(self, seen: Seen, count: int, loaded: _Loaded) -> list[float]:
        """The mean log-odds of the first `count` videos of `seen`."""
        rows = [prompt_row(loaded.tokenizer, self._config, probe.format(name=loaded.person.name)) for probe in PROBES]
        batch = seen.prefix.key.shape[1]
        with mesh_context(self.mesh):
            logits = loaded.engine.ask(seen, [rows] * batch, _shape(loaded.engine, rows)).logits
        yes, no = loaded.yes_no
        odds = np.asarray(logits[:, yes] - logits[:, no]).reshape(batch, -1)[:count, : len(PROBES)]
        return odds.mean(axis=1).tolist()


def _is_same_pack(current: Person | None, loaded: _Loaded) -> bool:
    return current is not None and (current.folder, current.manifest) == (loaded.person.folder, loaded.person.manifest)


def _changing(person: Person) -> dict[str, Any]:
    """What may be replaced while the pack stays."""
    return {"person": person, "calibration": read_calibration(person.folder), "on_disk": _on_disk(person.folder)}


def _on_disk(folder: Path) -> tuple[Any, ...]:
    """What differs when one of the person's files is replaced, added or erased."""

    def mark(path: Path) -> tuple[int, int] | None:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    return tuple(mark(folder / name) for name in PERSON_FILES)


def _in_batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCHES[-1]):
        yield items[start : start + _BATCHES[-1]]


def _fill(batch: Sequence[Any]) -> list[Any]:
    """`batch` brought to a size that compiles once for all, by repeating its first item."""
    size = next(size for size in _BATCHES if size >= len(batch))
    return [*batch, *[batch[0]] * (size - len(batch))]


def _shape(engine: Engine, rows: Sequence[TextRow]) -> PromptShape:
    shape = engine.shape_of([rows])
    return PromptShape(shape.num_slots, bucket(shape.length, multiple=32, per_doubling=1))


def _joined(turns: Sequence[Turn], texts: dict[str, str]) -> str:
    """The answers about several people as one text."""
    if len(turns) == 1:
        return texts[turns[0].name]
    if all(wording.asks_presence(turn.question, turn.name) for turn in turns):
        return wording.together({turn.name: turn.presence.verdict for turn in turns})
    return "\n".join(texts[turn.name] for turn in turns)


def _label(turn: Turn, turns: Sequence[Turn]) -> str:
    """What says whom an answer of the model is about, among several; decided ones say so themselves."""
    return f"{turn.name}: " if len(turns) > 1 else ""


def _reply(turns: Sequence[Turn], text: str, is_complete: bool, num_tokens: int) -> Reply:
    num_prompt = sum(len(turn.row.input_ids) for turn in turns)
    return Reply(text, {turn.name: turn.presence for turn in turns}, is_complete, num_prompt, num_tokens)
