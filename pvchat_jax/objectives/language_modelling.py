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
    """Number of tokens that `token_sums` supervises: float32[] from labels int[..., S].

    The first position predicts nothing before it, so its label never counts.
    """
    return jnp.sum(labels[..., 1:] != IGNORED_LABEL, dtype=jnp.float32)


def token_sums(logits: jax.Array, labels: jax.Array) -> TokenSums:
    """Shifted cross-entropy summed over labels that are not -100, computed in float32.

    Args:
      logits: float[..., S, V]; position s predicts the token at s + 1.
      labels: int[..., S], -100 where nothing is supervised.

    Returns:
      Sums in nats and in tokens over all leading axes.
    """
    logits = logits[..., :-1, :].astype(jnp.float32)
    targets = labels[..., 1:]
    supervised = targets != IGNORED_LABEL
    # A comparison instead of a gather: it leaves a vocabulary that is sharded over devices where it is.
    is_target = jnp.arange(logits.shape[-1], dtype=targets.dtype) == targets[..., None]  # [..., S-1, V]
    target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    losses = jax.nn.logsumexp(logits, axis=-1) - target_logits
    correct = jnp.argmax(logits, axis=-1) == targets
    return TokenSums(
        negative_log_likelihood=jnp.sum(jnp.where(supervised, losses, 0.0)),
        correct=jnp.sum(supervised & correct, dtype=jnp.float32),
        count=count_target_tokens(labels),
    )


def mean_loss(sums: TokenSums) -> jax.Array:
    """Cross-entropy per target token in nats: float32[]; 0 if there are no target tokens."""
    return sums.negative_log_likelihood / jnp.maximum(sums.count, 1.0)


def token_accuracy(sums: TokenSums) -> jax.Array:
    """Share of target tokens that have the highest logit: float32[]; 0 if there are no target tokens."""
    return sums.correct / jnp.maximum(sums.count, 1.0)
