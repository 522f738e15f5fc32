"""The worker's thread: what is tried when something goes wrong on the way, without a model."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvchat_jax.assistant.videos import Watched
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.server.answering import Answered, Began, Piece, Question
from pvchat_jax.server.metrics import Metrics
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.worker import Call, Worker
from tests.server.running import until
from tests.server.stub import StubAssistant, StubLane, lanes

LONG = "on " * 45
PATIENCE = 300  # seconds, on a machine that has other things to do
WATCHED = Watched(np.zeros((1, 1, 1), np.float32), (0.0,), "clip")


class Case:
    """A worker, and what it told of each question."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.assistant, self.lanes = StubAssistant("<Wilson>", "<Ada>"), lanes()
        options = Settings(**{"workspace": folder, "slots": 2, "prompt_tokens": 50, **settings})
        self.worker = Worker(lambda: self.assistant, options, Metrics(), self.lanes)
        self.ended: list[str] = []  # questions, as they were answered
        self.worker.start()

    def ask(self, text: str, *names: str, client: str = "a", **changes: Any) -> tuple[Question, queue.Queue]:
        told: queue.Queue = queue.Queue()

        def deliver(event: Any) -> None:
            if isinstance(event, Answered):
                self.ended.append(text)
            told.put(event)

        question = Question(
            watched=WATCHED,
            names=names or ("<Wilson>",),
            text=text,
            history=(),
            options=DecodingOptions(max_new_tokens=100),
            is_streamed=changes.pop("is_streamed", False),
            deliver=deliver,
        )
        self.worker.submit(client, question)
        return question, told

    def call(self, work: Any, client: str = "a") -> queue.Queue:
        told: queue.Queue = queue.Queue()
        self.worker.submit(client, Call(work, told.put))
        return told


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.worker.stop()


def last(told: queue.Queue) -> Any:
    while True:
        event = told.get(timeout=PATIENCE)
        if isinstance(event, Answered | Refusal):
            return event


def _two_begun(case: Case) -> list[tuple[Question, queue.Queue]]:
    """Two long answers in the two slots, of held lanes."""
    begun = [case.ask(LONG)]
    assert isinstance(begun[0][1].get(timeout=PATIENCE), Began)
    begun.append(case.ask(LONG))
    case.lanes.pace.step()  # the worker looks at the queue between two steps
    assert isinstance(begun[1][1].get(timeout=PATIENCE), Began)
    return begun


def test_what_happens_is_told_in_order(case: Case) -> None:
    _, told = case.ask("how is he ?", is_streamed=True)
    events = [told.get(timeout=PATIENCE) for _ in range(9)]
    assert isinstance(events[0], Began) and all(isinstance(event, Piece) for event in events[1:-1])
    assert "".join(event.text for event in events[1:-1]) == events[-1].text == "<Wilson>: how is he ? [clip] 0"


def test_a_cancelled_answer_gives_its_slot_to_the_next(case: Case) -> None:
    with case.lanes.pace.held():
        (leaves, left), (_, stays) = _two_begun(case)
        waiting, _ = case.ask("never")
        _, next_one = case.ask("next", client="b")
        case.worker.cancel(waiting)
        case.worker.cancel(leaves)
    assert last(next_one).text == "<Wilson>: next [clip] 0"
    assert isinstance(last(stays), Answered)
    assert case.ended == ["next", LONG]  # the next one had not to wait for either
    assert left.empty()


def test_a_defect_ends_one_batch_and_the_thread_goes_on(case: Case) -> None:
    class Broken(StubLane):
        all = case.lanes.all
        pace = case.lanes.pace

        def advance(self, num_steps: int) -> list:
            raise RuntimeError("out of memory")

    case.worker._open_lane = Broken
    assert last(case.ask("how ?")[1]).status == 500
    case.worker._open_lane = case.lanes
    assert isinstance(last(case.ask("how ?")[1]), Answered)
    assert last(case.call(lambda assistant: 1 / 0)).status == 500
    assert case.call(lambda assistant: assistant.num_frames).get(timeout=PATIENCE) == 4


def test_too_long_a_conversation_is_refused_and_leaves_no_slot_taken(case: Case) -> None:
    refusal = last(case.ask("on " * 51, "<Wilson>", "<Ada>")[1])
    assert isinstance(refusal, Refusal) and "more than 50 tokens" in refusal.message
    assert case.worker.num_open == 0


def test_who_is_erased_is_not_answered_about_any_more(case: Case) -> None:
    with case.lanes.pace.held():
        _, told = case.ask(LONG)
        told.get(timeout=PATIENCE)
        _, other = case.ask("on and on", "<Ada>", client="b")
        case.assistant.on_refresh = lambda: ("<Ada>",)
        reloaded = case.call(lambda assistant: case.worker.reload(), client="c")
    reloaded.get(timeout=PATIENCE)
    assert isinstance(last(told), Refusal)
    assert case.worker.names == ("<Ada>",)
    assert last(other).text == "<Ada>: on and on [clip] 0"


def test_nobody_is_left_waiting_at_the_end(tmp_path: Path) -> None:
    case = Case(tmp_path, slots=1)
    stopping = threading.Thread(target=case.worker.stop)
    with case.lanes.pace.held():
        told = [case.ask(LONG)[1] for _ in range(3)]
        told[0].get(timeout=PATIENCE)
        stopping.start()
        until(lambda: case.worker._is_stopping)
    assert all(isinstance(last(one), Refusal) for one in told)
    stopping.join()
    assert not case.worker.is_alive
