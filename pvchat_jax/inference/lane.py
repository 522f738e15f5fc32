"""A running batch that answers join and leave: each is decoded with its neighbours, and comes out as if it had been asked alone.

A lane has a fixed number of slots, one question in each, so that one compiled program serves whoever is in it. The questions may be
about different videos, of any length, and decoded in different ways; they have the model's parameters and the number of beams in common.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.inference.decoder import Prompts, State
from pvchat_jax.inference.engine import Asked, Engine, Reply
from pvchat_jax.inference.options import DecodingOptions, stack_controls
from pvchat_jax.inference.text import TextStream
from pvchat_jax.models.mistral import KeyValues


class Said(NamedTuple):
    """What was added to the answer in a slot; `reply` is the whole of it once it has ended, and then the slot is free."""

    slot: int
    piece: str
    reply: Reply | None


class LaneShape(NamedTuple):
    """Questions at a time, tokens of the longest question after the video, tokens of the longest answer, and beams of each."""

    num_slots: int
    prompt_length: int
    answer_length: int
    num_beams: int = 1


class _Rows(NamedTuple):
    """The arrays of R slots: the prefix of each slot's own video, its prompt, and what it has said."""

    prefix: KeyValues
    prompts: Prompts
    state: State


@dataclasses.dataclass(frozen=True)
class _Seat:
    """Who sits in a slot."""

    options: DecodingOptions
    stream: TextStream
    is_streamed: bool


class Lane:
    """The slots of one engine.

    Args:
      engine: whose questions are answered.
    """

    def __init__(self, engine: Engine, shape: LaneShape) -> None:
        self._engine, self._shape = engine, shape
        self._seats: list[_Seat | None] = [None] * shape.num_slots
        self._rows: _Rows | None = None

    @property
    def num_taken(self) -> int:
        """Slots with an unfinished answer."""
        return sum(seat is not None for seat in self._seats)

    @property
    def num_free(self) -> int:
        return len(self._seats) - self.num_taken

    def join(self, asked: Asked, options: DecodingOptions, *, is_streamed: bool = False) -> int:
        """Puts one question about one video, without padding rows, into a free slot, which is returned.

        Args:
          is_streamed: whether `advance` shall say what was added before the answer has ended. A beam search knows nothing before.

        Raises:
          ValueError: there is no free slot, or the question or its answer is longer than the lane's.
        """
        shape = self._shape
        if not self.num_free:
            raise ValueError("all slots of the lane are taken")
        if asked.prompts.lengths.shape != (1,) or asked.prompts.keys.key.shape[2] > shape.prompt_length:
            raise ValueError(f"one question of at most {shape.prompt_length} tokens joins a lane at a time")
        if options.max_new_tokens > shape.answer_length or options.num_beams != shape.num_beams:
            raise ValueError(f"answers of this lane have at most {shape.answer_length} tokens and {shape.num_beams} beams")
        state = self._engine.begin_one(asked, options, shape.answer_length)
        row = _Rows(asked.seen.prefix, asked.prompts._replace(logits=jnp.zeros((1, 0))), state)
        slot = self._seats.index(None)
        self._rows = _place(self._empty(row) if self._rows is None else self._rows, row, slot)
        self._seats[slot] = _Seat(options, self._engine.text_stream(options), is_streamed and shape.num_beams == 1)
        return slot

    def leave(self, *slots: int) -> None:
        """Frees slots whose answers nobody waits for."""
        for slot in slots:
            self._seats[slot] = None
        if slots and self._rows is not None:
            left = np.isin(np.arange(len(self._seats)), slots)
            state = self._rows.state
            self._rows = self._rows._replace(state=state._replace(done=state.done | left))

    def advance(self, num_steps: int) -> list[Said]:
        """Decodes at most `num_steps` tokens of each answer, and says what was added; answers that have ended leave."""
        if not self.num_taken:
            return []
        rows, neutral = self._rows, DecodingOptions()
        controls = stack_controls([seat.options if seat else neutral for seat in self._seats])
        state = self._engine.advance(*rows, controls, num_steps)
        self._rows = rows._replace(state=state)
        done, step, answers = jax.device_get((state.done, state.step, state.answers))
        said = [
            self._look(slot, seat, answers[slot], int(step[slot]), is_done=bool(done[slot]))
            for slot, seat in enumerate(self._seats)
            if seat is not None
        ]
        self.leave(*(one.slot for one in said if one.reply is not None))
        return [one for one in said if one.piece or one.reply is not None]

    def _look(self, slot: int, seat: _Seat, ids: np.ndarray, step: int, *, is_done: bool) -> Said:
        piece = ""
        if seat.is_streamed or (seat.options.stop and self._shape.num_beams == 1):
            piece = seat.stream.feed(self._engine.without_end(ids[:step]), is_last=is_done)
        reply = self._engine.reply_of(ids, seat.options) if is_done or seat.stream.stopped else None
        return Said(slot, piece if seat.is_streamed else "", reply)

    def _empty(self, like: _Rows) -> _Rows:
        """Slots in which nobody sits, of the kind of the single row `like`."""
        num_slots, length = self._shape.num_slots, self._shape.prompt_length

        def zeros(leaf: Any) -> Any:
            if isinstance(leaf, KeyValues):
                return KeyValues(*(jnp.zeros((array.shape[0], num_slots, *array.shape[2:]), array.dtype) for array in leaf))
            return jnp.zeros((num_slots, *leaf.shape[1:]), leaf.dtype)

        rows = jax.tree.map(zeros, like, is_leaf=lambda leaf: isinstance(leaf, KeyValues))
        keys = KeyValues(*(jnp.zeros((*array.shape[:2], length, *array.shape[3:]), array.dtype) for array in rows.prompts.keys))
        # Padding has to attend to something, and has said something.
        state = rows.state._replace(done=jnp.ones(num_slots, bool), step=jnp.ones(num_slots, jnp.int32))
        return _Rows(rows.prefix, rows.prompts._replace(keys=keys, lengths=jnp.ones(num_slots, jnp.int32)), state)


@functools.partial(jax.jit, donate_argnames="rows")
def _place(rows: _Rows, row: _Rows, slot: jax.Array) -> _Rows:
    """`rows` of which one is `row`, whose prompt may be padded to less."""

    update = jax.lax.dynamic_update_slice

    def put(all_rows: Any, one: Any) -> Any:
        if isinstance(all_rows, KeyValues):  # [layers, R, ...]
            return KeyValues(*(update(old, new, (0, slot, *[0] * (old.ndim - 2))) for old, new in zip(all_rows, one, strict=True)))
        return update(all_rows, one, (slot, *[0] * (all_rows.ndim - 1)))

    return jax.tree.map(put, rows, row, is_leaf=lambda leaf: isinstance(leaf, KeyValues))
