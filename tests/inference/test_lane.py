"""Answers that join and leave a running batch are those of questions asked alone."""

import dataclasses

import jax
import numpy as np
import pytest

from pvchat_jax.data.conversation import TextRow
from pvchat_jax.inference.engine import Asked, Engine, PromptShape, Reply
from pvchat_jax.inference.lane import Lane, LaneShape
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.models.config import TINY
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from tests.random_params import random_params

SMALL = dataclasses.replace(
    TINY, language_model=dataclasses.replace(TINY.language_model, vocab_size=60, num_added_tokens=1, num_layers=1, width=32, mlp_width=48)
)
NUM_VISUAL = SMALL.qformer.num_visual_tokens
EOS = 3
GREEDY = DecodingOptions(max_new_tokens=24)
SHAPE = LaneShape(num_slots=3, prompt_length=24, answer_length=24)


class Letters:
    """A tokenizer whose tokens are letters, one each."""

    eos_id = EOS

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(ord("A") + index) for index in ids)


class Case:
    """A model of random numbers, which says something else about each video and question."""

    def __init__(self) -> None:
        params = random_params(lambda key: {"params": init_boxed(build_pvchat(SMALL), SMALL, key)}, jax.random.key(0))
        language = params["language_model"]
        language["embed_tokens"] = 20 * language["embed_tokens"]  # likelihoods differ, and so do answers
        self.engine = Engine(build_pvchat(SMALL), params, Letters(), row([1]))
        rng = np.random.default_rng(0)
        self.features = rng.normal(size=(4, 1, 1, 9, SMALL.vision.width)).astype(np.float32) * 3

    def ask(self, video: int, *ids: int) -> Asked:
        asked = row(list(ids))
        length = self.engine.shape_of([[asked]]).length
        return self.engine.ask(self.engine.see(self.features[video]), [[asked]], PromptShape(1, length))

    def alone(self, asked: Asked, options: DecodingOptions) -> Reply:
        return self.engine.answer(asked, options)[0][0]


def row(question: list[int]) -> TextRow:
    ids = np.array([1, 2, *[0] * NUM_VISUAL, *question], np.int32)
    video = np.zeros(len(ids), bool)
    video[2 : 2 + NUM_VISUAL] = True
    return TextRow(ids, np.ones(len(ids), bool), np.full(len(ids), -100, np.int32), video)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


class Guests:
    """Who sits where in a lane, and the answers of those who have left."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.seats: dict[int, str] = {}
        self.replies: dict[str, Reply] = {}

    def join(self, name: str, asked: Asked, options: DecodingOptions) -> None:
        self.seats[self.lane.join(asked, options)] = name

    def advance(self, num_steps: int) -> None:
        for said in self.lane.advance(num_steps):
            if said.reply is not None:
                self.replies[self.seats.pop(said.slot)] = said.reply

    def finish(self, num_steps: int) -> dict[str, Reply]:
        while self.lane.num_taken:
            self.advance(num_steps)
        return self.replies


def test_rows_that_join_late_say_what_they_say_alone(case: Case) -> None:
    drawn = dataclasses.replace(GREEDY, temperature=1.3, top_k=20, seed=11, repetition_penalty=1.2)
    short = dataclasses.replace(GREEDY, max_new_tokens=17)
    long = tuple(range(20, 28))
    questions = {
        "first": (case.ask(0, 10, 11, 12), GREEDY),
        "drawn": (case.ask(1, *long), drawn),
        "short": (case.ask(2, *long), short),
        "late": (case.ask(3, 9, 8), GREEDY),
    }
    alone = {name: case.alone(*question) for name, question in questions.items()}
    assert len({reply.tokens for reply in alone.values()}) == 4 and len(alone["first"].tokens) > 4
    guests = Guests(Lane(case.engine, SHAPE))
    for name, question in questions.items():
        while not guests.lane.num_free:  # a slot is taken again once its answer has ended
            guests.advance(1)
        guests.join(name, *question)
        guests.advance(2)
    assert guests.finish(7) == alone


def test_beams_that_join_late_are_those_of_a_search_alone(case: Case) -> None:
    options = dataclasses.replace(GREEDY, num_beams=3, length_penalty=0.5)
    questions = {"first": case.ask(0, 10, 11, 12), "second": case.ask(1, 20, 21)}
    guests = Guests(Lane(case.engine, SHAPE._replace(num_beams=3)))
    for name, asked in questions.items():
        guests.join(name, asked, options)
        guests.advance(3)
    assert guests.finish(2) == {name: case.alone(asked, options) for name, asked in questions.items()}


def test_streamed_pieces_and_stop_texts(case: Case) -> None:
    asked = case.ask(0, 10, 11, 12)
    whole = case.alone(asked, GREEDY).text
    stop = whole[6:8]
    lane = Lane(case.engine, SHAPE)
    streamed, stopped = lane.join(asked, GREEDY, is_streamed=True), lane.join(asked, dataclasses.replace(GREEDY, stop=(stop,)))
    pieces: dict[int, list[str]] = {streamed: [], stopped: []}
    found = {}
    while lane.num_taken:
        for one in lane.advance(1):
            pieces[one.slot].append(one.piece)
            found.update({one.slot: one.reply} if one.reply else {})
    assert "".join(pieces[streamed]) == found[streamed].text == whole
    assert len(pieces[streamed]) > 10
    assert found[stopped].text == whole[: whole.index(stop)] == case.alone(asked, dataclasses.replace(GREEDY, stop=(stop,))).text
    assert found[stopped].is_complete and len(found[stopped].tokens) < len(found[streamed].tokens)


def test_a_slot_that_was_left_is_free_at_once_and_nobody_notices(case: Case) -> None:
    stays, goes = case.ask(0, 10, 11, 12), case.ask(1, 20, 21)
    guests = Guests(Lane(case.engine, SHAPE))
    for name, asked in (("stays", stays), ("goes", goes), ("stays too", goes)):
        guests.join(name, asked, GREEDY)
    with pytest.raises(ValueError, match="taken"):
        guests.join("nobody", goes, GREEDY)
    guests.advance(1)
    guests.lane.leave(next(slot for slot, name in guests.seats.items() if name == "goes"))
    assert guests.lane.num_free == 1
    guests.join("comes", stays, GREEDY)
    assert guests.finish(4) == {
        "stays": case.alone(stays, GREEDY),
        "stays too": case.alone(goes, GREEDY),
        "comes": case.alone(stays, GREEDY),
    }


def test_what_does_not_fit_is_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="at most 4 tokens"):
        Lane(case.engine, SHAPE._replace(prompt_length=4)).join(case.ask(0, 10), GREEDY)
    with pytest.raises(ValueError, match="at most 24 tokens"):
        Lane(case.engine, SHAPE).join(case.ask(0, 10), DecodingOptions(max_new_tokens=25))
