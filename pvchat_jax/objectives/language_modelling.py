"""Next-token cross-entropy over the supervised positions (docs/reference.md section 4)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

IGNORED_LABEL = -100


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


def mean_loss(sums: TokenSums) -> jax.Array:
    """Cross-entropy per target token in nats: float32[]; 0 if there are no target tokens."""
    return sums.negative_log_likelihood / jnp.maximum(sums.count, 1.0)


def token_accuracy(sums: TokenSums) -> jax.Array:
    """Share of target tokens that have the highest logit: float32[]; 0 if there are no target tokens."""
    return sums.correct / jnp.maximum(sums.count, 1.0)
