"""One step of a beam search, with the scores and the stopping rule of `transformers` (`early_stopping=False`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pvchat_jax.inference.options import Controls
from pvchat_jax.inference.sampling import penalise_repetition

_OUT = -1e9  # far below any score, as in transformers


class Beams(NamedTuple):
    """Scores of R searches with W beams, and the best finished sequences of each, the best first.

    Attributes:
      running: float32[R, W], log-probabilities of the beams that go on.
      finished: int32[R, W, M]; finished_scores: float32[R, W], log-probabilities divided by length ** length_penalty;
      is_finished: bool[R, W], which of these are sequences.
    """

    running: jax.Array
    finished: jax.Array
    finished_scores: jax.Array
    is_finished: jax.Array


class Selection(NamedTuple):
    """`parent: int32[R, W]`, the beam that each new beam continues; `tokens: int32[R, W, M]`; `done: bool[R]`, whether to stop."""

    beams: Beams
    parent: jax.Array
    tokens: jax.Array
    done: jax.Array


def start_beams(tokens: jax.Array) -> Beams:
    """Beams before their first step, of `tokens: int32[R, W, M]`; all begin alike, so only the first may be continued."""
    running = jnp.full(tokens.shape[:2], _OUT).at[:, 0].set(0.0)
    return Beams(running, tokens, jnp.full(tokens.shape[:2], _OUT), jnp.zeros(tokens.shape[:2], bool))


def select(beams: Beams, logits: jax.Array, tokens: jax.Array, step: jax.Array, controls: Controls, eos_id: int) -> Selection:
    """The W best continuations that have not ended, and among the W best of all those that have.

    Args:
      logits: float32[R, W, V]. tokens: int32[R, W, M], the first `step: int32[R]` of them so far.
    """
    num_rows, width, vocabulary = logits.shape
    scores = jax.nn.log_softmax(logits, axis=-1).reshape(-1, vocabulary)
    history = tokens.reshape(num_rows * width, -1)
    penalty = jnp.repeat(controls.repetition_penalty, width)
    scores = penalise_repetition(scores, history, jnp.repeat(step, width), penalty).reshape(logits.shape)
    scores = (scores + beams.running[..., None]).reshape(num_rows, -1)
    best, index = jax.lax.top_k(scores, 2 * width)  # so many that W are left where W have ended
    parent, token = index // vocabulary, (index % vocabulary).astype(tokens.dtype)
    candidates = jnp.take_along_axis(tokens, parent[..., None], axis=1)  # [R, 2 W, M]
    candidates = jnp.where(jnp.arange(tokens.shape[-1]) == step[:, None, None], token[..., None], candidates)

    length = (step + 1).astype(jnp.float32)[:, None]
    is_last = step + 1 >= controls.limit
    ended = (token == eos_id) | is_last[:, None]
    scale = length ** controls.length_penalty[:, None]
    counts = ended & (jnp.arange(2 * width) < width)
    all_scores = jnp.concatenate([beams.finished_scores, best / scale + jnp.where(counts, 0.0, _OUT)], axis=1)
    finished_scores, kept = jax.lax.top_k(all_scores, width)
    is_finished = jnp.take_along_axis(jnp.concatenate([beams.is_finished, counts], axis=1), kept, axis=1)
    finished = jnp.take_along_axis(jnp.concatenate([beams.finished, candidates], axis=1), kept[..., None], axis=1)

    running, order = jax.lax.top_k(best + jnp.where(ended, _OUT, 0.0), width)
    worst = jnp.where(is_finished, finished_scores.min(axis=1, keepdims=True), _OUT)
    may_improve = jnp.any(running[:, :1] / scale > worst, axis=1)
    return Selection(
        Beams(running, finished, finished_scores, is_finished),
        jnp.take_along_axis(parent, order, axis=1),
        jnp.take_along_axis(candidates, order[..., None], axis=1),
        is_last | ~may_improve,
    )
