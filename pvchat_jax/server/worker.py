"""The one thread that talks to the model: it takes questions out of the queue, and decodes all that are open together."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from pvchat_jax.assistant.assistant import Assistant, Turn
from pvchat_jax.errors import UserError
from pvchat_jax.inference.engine import Asked, Engine, PromptShape
from pvchat_jax.inference.lane import Lane, LaneShape, Said
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.server.answering import Answer, Question
from pvchat_jax.server.metrics import Metrics
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.scheduling import FairQueue
from pvchat_jax.server.settings import Settings
from pvchat_jax.sharding import mesh_context

_STEPS = 8  # tokens between two looks at the queue; where somebody reads along, one
_ADMISSION_SECONDS = 0.05  # for new questions, before those that are open go on
_MOST_LANES = 16  # each holds keys of `slots` conversations
_DEFECT = "the server failed; its log says more."

_log = logging.getLogger(__name__)


class AnyLane(Protocol):
    """What the worker needs of `inference.lane.Lane`; tests have another."""

    num_taken: int
    num_free: int

    def join(self, asked: Asked, options: DecodingOptions, *, is_streamed: bool = False) -> int: ...

    def leave(self, *slots: int) -> None: ...

    def advance(self, num_steps: int) -> list[Said]: ...


@dataclasses.dataclass(eq=False)
class Call:
    """Something else that has to be done in the worker's thread, such as looking at a video.

    Attributes:
      work: is given the assistant, or None while nobody was ever enrolled.
      deliver: is given the result or a refusal, from the worker's thread.
    """

    work: Callable[[Assistant | None], Any]
    deliver: Callable[[Any], None]


class _LaneKey(NamedTuple):
    name: str
    num_beams: int


@dataclasses.dataclass(eq=False)
class _Running:
    """A lane with those who sit in it, by slot."""

    engine: Engine
    lane: AnyLane
    seats: dict[int, tuple[Answer, str]] = dataclasses.field(default_factory=dict)

    @property
    def is_read_along(self) -> bool:
        return any(answer.question.is_streamed for answer, _ in self.seats.values())


class Worker:
    """Owns the assistant.

    Args:
      open_assistant: is called in the worker's thread, at the start and by `reload`; None where nobody was ever enrolled.
      open_lane: makes the running batch of a person.
    """

    def __init__(
        self,
        open_assistant: Callable[[], Assistant | None],
        settings: Settings,
        metrics: Metrics,
        open_lane: Callable[[Engine, LaneShape], AnyLane] = Lane,
    ) -> None:
        self._open_assistant, self._open_lane = open_assistant, open_lane
        self._settings, self._metrics = settings, metrics
        self._queue: FairQueue[Question | Call] = FairQueue(settings.queue, settings.queue_per_client)
        self._lanes: dict[_LaneKey, _Running] = {}
        self._assistant: Assistant | None = None
        self._wake = threading.Event()
        self._is_stopping = False
        self._has_cancelled = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._opened: threading.Event = threading.Event()
        self._failure: Exception | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of everybody who can be asked about."""
        assistant = self._assistant
        return assistant.names if assistant is not None else ()

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    @property
    def num_open(self) -> int:
        """Answers that are being decoded."""
        return sum(len(running.seats) for running in list(self._lanes.values()))

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Loads the model, and returns when that is done; does nothing when it was.

        Raises:
          UserError: it cannot be loaded.
        """
        if not self._opened.is_set():
            self._thread.start()
            self._opened.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends the thread after the step that it is in."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join()

    def submit(self, client: str, job: Question | Call) -> None:
        """Lines up a question or a call of a client.

        Raises:
          Refusal: too much is waiting.
        """
        self._queue.push(client, job)
        self._wake.set()

    def cancel(self, question: Question) -> None:
        """Nobody waits for the answer any more; its slot is free before the next step."""
        question.is_cancelled = True
        if not self._queue.discard(question):
            self._has_cancelled = True
            self._wake.set()

    def reload(self) -> None:
        """Takes in who was enrolled, renamed or erased; to be called in the worker's thread, see `Call`."""
        if self._assistant is None:
            self._assistant = self._open_assistant()
        else:
            self._assistant.refresh()
        for key in [key for key in self._lanes if key.name not in self.names]:
            self._close(key, Refusal(404, "the person was erased or renamed."))

    def _run(self) -> None:
        try:
            self._assistant = self._open_assistant()
        except Exception as error:
            self._failure = error
            return
        finally:
            self._opened.set()
        while not self._is_stopping:
            self._wake.clear()
            self._free_cancelled()  # first, so that whoever waits gets the slots now
            has_begun = self._admit()
            has_advanced = [self._advance(key, running) for key, running in list(self._lanes.items())]
            self._metrics.waiting.set(self.num_waiting)
            self._metrics.open.set(self.num_open)
            if not has_begun and not any(has_advanced):
                self._wake.wait()
        for key in list(self._lanes):
            self._close(key, Refusal(503, "the server is ending."))
        while (job := self._queue.pop(lambda job: True)) is not None:
            job.deliver(Refusal(503, "the server is ending."))

    def _admit(self) -> bool:
        """Begins what there is room for; whether there was anything."""
        until, has_begun = time.monotonic() + _ADMISSION_SECONDS, False
        while time.monotonic() < until and not self._is_stopping:
            job = self._queue.pop(self._has_room)
            if job is None:
                break
            has_begun = True
            try:
                job.deliver(job.work(self._assistant)) if isinstance(job, Call) else self._begin(job)
            except Refusal as refusal:
                self._fail(job, refusal)
            except UserError as error:
                self._fail(job, Refusal(400, str(error)))
            except Exception:
                _log.exception("a request failed")
                self._fail(job, Refusal(500, _DEFECT))
        return has_begun

    def _fail(self, job: Question | Call, refusal: Refusal) -> None:
        if isinstance(job, Question):
            job.is_cancelled = self._has_cancelled = True  # some of its people may have slots
        job.deliver(refusal)

    def _has_room(self, job: Question | Call) -> bool:
        if isinstance(job, Call):
            return True
        keys = {_LaneKey(name, job.options.num_beams) for name in job.names}
        known = {key: running for key, running in self._lanes.items() if key in keys}
        if any(not running.lane.num_free for running in known.values()):
            return False
        others_in_use = sum(bool(running.seats) for key, running in self._lanes.items() if key not in keys)
        return others_in_use + len(keys) <= _MOST_LANES

    def _begin(self, question: Question) -> None:
        if self._assistant is None:
            raise Refusal(404, "nobody is enrolled yet.")
        if question.is_cancelled:
            return
        turns = self._assistant.prepare(question.watched, question.names, question.text, question.history)
        for turn in turns:
            if turn.text is None and turn.shape.length > self._settings.prompt_tokens:
                raise Refusal(400, f"the conversation has more than {self._settings.prompt_tokens} tokens; begin a new one.")
        answer = Answer(question, turns)
        for turn in answer.open_turns:
            self._seat(answer, turn)
        answer.settle()

    def _seat(self, answer: Answer, turn: Turn) -> None:
        options = answer.question.options
        running = self._lane_of(turn, options.num_beams)
        with mesh_context(self._assistant.mesh):
            asked = turn.engine.ask(turn.seen, [[turn.row]], PromptShape(1, turn.shape.length))
            slot = running.lane.join(asked, options, is_streamed=answer.question.is_streamed)
        running.seats[slot] = (answer, turn.name)

    def _lane_of(self, turn: Turn, num_beams: int) -> _Running:
        """The running batch of a person; one in which nobody sits makes room for a new one."""
        key = _LaneKey(turn.name, num_beams)
        running = self._lanes.get(key)
        if running is not None and running.engine is not turn.engine:
            self._close(key, Refusal(409, "the person was enrolled anew; ask again."))
            running = None
        if running is None:
            empty = [other for other, of in self._lanes.items() if not of.seats]
            while empty and len(self._lanes) >= _MOST_LANES:
                del self._lanes[empty.pop(0)]
            settings = self._settings
            shape = LaneShape(settings.slots, settings.prompt_tokens, settings.answer_tokens, num_beams)
            running = _Running(turn.engine, self._open_lane(turn.engine, shape))
        else:
            del self._lanes[key]  # the one used last is the last to make room
        self._lanes[key] = running
        return running

    def _advance(self, key: _LaneKey, running: _Running) -> bool:
        """Decodes some tokens of all answers about a person; whether there was anything to decode."""
        if not running.seats:
            return False
        try:
            self._metrics.batch.observe(len(running.seats))
            with mesh_context(self._assistant.mesh):
                said = running.lane.advance(1 if running.is_read_along else _STEPS)
        except Exception:
            _log.exception("a running batch failed")
            self._close(key, Refusal(500, _DEFECT))
            return True
        for one in said:
            answer, name = running.seats[one.slot]
            if one.piece:
                answer.add_piece(one.piece)
            if one.reply is not None:
                del running.seats[one.slot]
                self._metrics.tokens.inc(len(one.reply.tokens))
                answer.add_reply(name, one.reply)
        return True

    def _free_cancelled(self) -> None:
        if not self._has_cancelled:
            return
        self._has_cancelled = False
        for running in self._lanes.values():
            left = [slot for slot, (answer, _) in running.seats.items() if answer.question.is_cancelled]
            running.lane.leave(*left)
            for slot in left:
                del running.seats[slot]

    def _close(self, key: _LaneKey, refusal: Refusal) -> None:
        """Ends the answers about a person, whose slots in other lanes are given up too."""
        for answer, _ in self._lanes.pop(key).seats.values():
            answer.question.deliver(refusal)
            answer.question.is_cancelled = True
        self._has_cancelled = True
