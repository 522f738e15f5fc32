"""Next-token cross-entropy over the supervised positions (docs/reference.md section 4)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

IGNORED_LABEL = -100
# Logits of one video that exist at a time, 20 MB in float32: few beside what a large model's layers keep, and still a matrix product
# of more than a hundred rows.
MOST_LOGITS = 5_000_000


class TokenSums(NamedTuple):
    """Sums over target tokens, which add up over micro-batches: float32[] each."""

    negative_log_likelihood: jax.Array
    correct: jax.Array
    count: jax.Array


def count_target_tokens(labels: jax.Array) -> jax.Array:
    """Number of tokens that are supervised: float32[] from labels int[..., S].

    The first position predicts nothing before it, so its label never counts.
    """
    return jnp.sum(labels[..., 1:] != IGNORED_LABEL, dtype=jnp.float32)


def next_tokens(labels: jax.Array) -> jax.Array:
    """What each position is to predict, the label after it: int[..., S], -100 at the end."""
    return jnp.concatenate([labels[..., 1:], jnp.full_like(labels[..., :1], IGNORED_LABEL)], axis=-1)


def token_sums(logits: jax.Array, targets: jax.Array) -> TokenSums:
    """Cross-entropy summed over targets that are not -100, computed in float32.

    Args:
      logits: float[..., P, V].
      targets: int[..., P], what each position is to predict (`next_tokens`, or some of them).

    Returns:
      Sums in nats and in tokens over all leading axes.
    """
    logits = logits.astype(jnp.float32)
    supervised = targets != IGNORED_LABEL
    # A comparison instead of a gather: it leaves a vocabulary that is sharded over devices where it is.
    is_target = jnp.arange(logits.shape[-1], dtype=targets.dtype) == targets[..., None]  # [..., P, V]
    target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    losses = jax.nn.logsumexp(logits, axis=-1) - target_logits
    correct = jnp.argmax(logits, axis=-1) == targets
    return TokenSums(
        negative_log_likelihood=jnp.sum(jnp.where(supervised, losses, 0.0)),
        correct=jnp.sum(supervised & correct, dtype=jnp.float32),
        count=jnp.sum(supervised, dtype=jnp.float32),
    )


def num_chunks(positions: int, vocabulary: int) -> int:
    """Parts that the `positions` of one video are split into, so that none has much more than `MOST_LOGITS` logits."""
    return min(positions, -(-positions * vocabulary // MOST_LOGITS))


def token_sums_of_states(logits_of: Callable[[jax.Array, jax.Array | None], jax.Array], states: jax.Array, targets: jax.Array) -> TokenSums:
    """`token_sums` of the logits of hidden states, of which neither this pass nor the backward pass holds many at a time.

    Where they would be many, they are made chunk by chunk, and once more for the gradient.

    Args:
      logits_of: a position-wise head, `float[..., H] -> float[..., V]`; its second argument numbers the chunks, int32[], for
        randomness of its own, and is None if there is but one.
      states: float[B, K, A, H].
      targets: int[B, K, A], what each position is to predict.
    """
    videos, positions = states.shape[0], states.shape[1] * states.shape[2]
    count = num_chunks(positions, jax.eval_shape(logits_of, states, None).shape[-1])
    if count == 1:
        return token_sums(logits_of(states, None), targets)

    def split(array: jax.Array, fill: float) -> jax.Array:
        """`[B, K, A, ...] -> [count, B, size, ...]`, filled up at the end: the videos stay on their devices."""
        size = -(-positions // count)
        array = array.reshape(videos, positions, *array.shape[3:])
        missing = [(0, 0), (0, count * size - positions)] + [(0, 0)] * (array.ndim - 2)
        padded = jnp.pad(array, missing, constant_values=fill)
        return jnp.moveaxis(padded.reshape(videos, count, size, *array.shape[2:]), 1, 0)

    @functools.partial(jax.checkpoint, prevent_cse=False)  # in a loop nothing merges the two passes
    def sums_of(states: jax.Array, targets: jax.Array, chunk: jax.Array) -> TokenSums:
        return token_sums(logits_of(states, chunk), targets)

    def add(total: TokenSums, chunk: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[TokenSums, None]:
        return jax.tree.map(jnp.add, total, sums_of(*chunk)), None

    chunks = (split(states, 0), split(targets, IGNORED_LABEL), jnp.arange(count))
    return jax.lax.scan(add, TokenSums(*(jnp.zeros((), jnp.float32),) * 3), chunks)[0]


def mean_loss(sums: TokenSums) -> jax.Array:
    """Cross-entropy per target token in nats: float32[]; 0 if there are no target tokens."""
    return sums.negative_log_likelihood / jnp.maximum(sums.count, 1.0)


def token_accuracy(sums: TokenSums) -> jax.Array:
    """Share of target tokens that have the highest logit: float32[]; 0 if there are no target tokens."""
    return sums.correct / jnp.maximum(sums.count, 1.0)
