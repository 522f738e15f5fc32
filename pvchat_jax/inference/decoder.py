"""The compiled programs of decoding: a video's prefix, prompts, the first token, and the loop over the others.

Each program compiles once for each shape of its arrays. How rows are decoded is an array too, so that one program serves greedy rows
and rows that draw, with any number of tokens; the number of beams is a shape. Rows count their steps for themselves.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pvchat_jax.inference import beam
from pvchat_jax.inference.cache import allocate, generated_segment, lay_out, prefix_segment, prompt_segment, write
from pvchat_jax.inference.options import Controls
from pvchat_jax.inference.sampling import next_tokens
from pvchat_jax.models.mistral import KeyValues


class Prompts(NamedTuple):
    """R = B * K rows after their prompts: keys float[layers, R, S, G, D], `lengths: int32[R]` of the prompts after the prefix, and
    `logits: float32[R, V]` of the first token."""

    keys: KeyValues
    lengths: jax.Array
    logits: jax.Array


class State(NamedTuple):
    """R rows of W beams in which some tokens were chosen.

    Attributes:
      tokens: int32[R, W, M], filled up with EOS. step: int32[R], how many of them were chosen. done: bool[R].
      cache: float[layers, R, M, W, G, D], of all chosen tokens but the last.
      ancestors: int32[R, W, M], see `generated_segment`.
      beams: None without a beam search.
    """

    tokens: jax.Array
    step: jax.Array
    done: jax.Array
    cache: KeyValues
    ancestors: jax.Array
    beams: beam.Beams | None

    @property
    def answers(self) -> jax.Array:
        """The best sequence of each row so far, `int32[R, M]`; of a beam search once it is done."""
        return (self.tokens if self.beams is None else self.beams.finished)[:, 0]


class Decoder:
    """The jitted programs of one model; parameters are arguments, so that others of the same shapes compile nothing.

    Args:
      model: has `apply` with the methods of models/pvchat.py, and its parameters come from its `unstack`.
    """

    def __init__(self, model: Any, eos_id: int) -> None:
        self.read_prefix = jax.jit(functools.partial(_read_prefix, model))
        self.read_prompts = jax.jit(functools.partial(_read_prompts, model))
        self.begin = jax.jit(functools.partial(_begin, eos_id), static_argnames=("num_beams", "capacity"))
        self.advance = jax.jit(functools.partial(_advance, model, eos_id), donate_argnames="state")


def _read_prefix(model: Any, params: Any, visual: jax.Array, input_ids: jax.Array, video_mask: jax.Array) -> KeyValues:
    """Keys float[layers, B, P, G, D] of the tokens int[P] that open a conversation about each of B videos, float[B, M, H]."""
    batch, length = visual.shape[0], input_ids.shape[0]
    ids, in_video = (jnp.broadcast_to(array, (batch, 1, length)) for array in (input_ids, video_mask))
    embeddings = model.apply({"params": params}, visual, ids, in_video, method="embed_rows")
    positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
    causal = jnp.broadcast_to(jnp.tri(length, dtype=bool), (batch, length, length))
    _, keys = model.apply({"params": params}, embeddings, positions, causal, chosen=positions[:, -1:], method="extend")
    return lay_out(keys)


def _read_prompts(model: Any, params: Any, prefix: KeyValues, input_ids: jax.Array, lengths: jax.Array) -> Prompts:
    """Rows int[R, S] of which the first `lengths: int[R]` tokens continue the prefix float[layers, B, P, G, D] of their video."""
    num_rows, size = input_ids.shape
    start = prefix.key.shape[2]
    embeddings = model.apply({"params": params}, input_ids, method="embed_text")
    positions = jnp.broadcast_to(start + jnp.arange(size), input_ids.shape)
    causal = jnp.broadcast_to(jnp.tri(size, dtype=bool), (num_rows, size, size))
    past = (prefix_segment(prefix, num_rows, size),)
    last = (lengths - 1)[:, None]
    logits, keys = model.apply({"params": params}, embeddings, positions, causal, past, last, method="extend")
    return Prompts(lay_out(keys), lengths, logits[:, 0])


def _begin(eos_id: int, prompts: Prompts, active: jax.Array, controls: Controls, num_beams: int, capacity: int) -> State:
    """The state after the first token of each row; rows that are not `active: bool[R]` are padding."""
    num_rows = len(active)
    tokens = jnp.full((num_rows, num_beams, capacity), eos_id, jnp.int32)
    state = State(
        tokens,
        jnp.zeros(num_rows, jnp.int32),
        ~active,
        allocate(prompts.keys, num_beams, capacity),
        jnp.zeros_like(tokens),
        beam.start_beams(tokens) if num_beams > 1 else None,
    )
    return _choose(eos_id, state, jnp.repeat(prompts.logits[:, None], num_beams, axis=1), controls)


def _advance(
    model: Any, eos_id: int, params: Any, prefix: KeyValues, prompts: Prompts, state: State, controls: Controls, num_steps: jax.Array
) -> State:
    """The state at most `num_steps` tokens later, earlier if all rows are done."""
    num_beams = state.tokens.shape[1]
    start = prefix.key.shape[2]
    shared = (
        prefix_segment(prefix, state.tokens.shape[0] * num_beams, 1),
        prompt_segment(prompts.keys, start, prompts.lengths, num_beams),
    )

    def extend(state: State) -> State:
        slot = state.step - 1
        last = jnp.take_along_axis(state.tokens, slot[:, None, None], axis=2)  # [R, W, 1]
        embeddings = model.apply({"params": params}, last.reshape(-1, 1), method="embed_text")
        first_position = start + prompts.lengths
        positions = jnp.repeat(first_position + slot, num_beams)[:, None]
        past = (*shared, generated_segment(state.cache, first_position, slot, state.ancestors))
        itself = jnp.ones((len(positions), 1, 1), bool)
        logits, keys = model.apply({"params": params}, embeddings, positions, itself, past, method="extend")
        state = state._replace(cache=write(state.cache, keys, slot))
        return _choose(eos_id, state, logits.reshape(-1, num_beams, logits.shape[-1]), controls)

    def is_running(carry: tuple[jax.Array, State]) -> jax.Array:
        return (carry[0] < num_steps) & ~jnp.all(carry[1].done)

    return jax.lax.while_loop(is_running, lambda carry: (carry[0] + 1, extend(carry[1])), (0, state))[1]


def _choose(eos_id: int, state: State, logits: jax.Array, controls: Controls) -> State:
    """Adds the next token to rows that are not done: logits float32[R, W, V]."""
    num_beams, capacity = state.tokens.shape[1:]
    is_next = jnp.arange(capacity) == state.step[:, None, None]  # [R, 1, M]
    if state.beams is None:
        token = next_tokens(logits[:, 0], state.tokens[:, 0], state.step, controls)
        tokens = jnp.where(is_next, token[:, None, None], state.tokens)
        done = (token == eos_id) | (state.step + 1 >= controls.limit)
        ancestors, beams = state.ancestors, None
    else:
        selected = beam.select(state.beams, logits, state.tokens, state.step, controls, eos_id)
        beams, tokens, done = selected.beams, selected.tokens, selected.done
        ancestors = jnp.take_along_axis(state.ancestors, selected.parent[..., None], axis=1)
        ancestors = jnp.where(is_next, jnp.arange(num_beams)[:, None], ancestors)

    def unless_done(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(state.done.reshape(-1, *(1,) * (old.ndim - 1)), old, new)

    chosen = state._replace(tokens=tokens, step=state.step + 1, done=done, ancestors=ancestors, beams=beams, cache=None)
    return jax.tree.map(unless_done, state._replace(cache=None), chosen)._replace(cache=state.cache)
