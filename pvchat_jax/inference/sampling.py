"""The next token from logits: the likeliest, or drawn as `transformers` draws."""

import jax
import jax.numpy as jnp

from pvchat_jax.inference.options import Controls


def next_tokens(logits: jax.Array, tokens: jax.Array, step: jax.Array, controls: Controls) -> jax.Array:
    """`int32[R]` from logits float32[R, V], after the answers' first `step` tokens of `tokens: int32[R, M]`."""
    logits = penalise_repetition(logits, tokens, step, controls.repetition_penalty)
    likeliest = jnp.argmax(logits, axis=-1)
    is_drawn = controls.temperature > 0
    drawn = jax.lax.cond(jnp.any(is_drawn), lambda: _draw(logits, step, controls), lambda: likeliest)
    return jnp.where(is_drawn, drawn, likeliest).astype(tokens.dtype)


def penalise_repetition(scores: jax.Array, tokens: jax.Array, step: jax.Array, penalty: jax.Array) -> jax.Array:
    """Scores (arXiv 1909.05858, as in `transformers`) in which tokens that occurred are less likely, where `penalty` is above 1.

    Args:
      scores: float32[R, V]. tokens: int32[R, M], the first `step: int32[R]` of them so far. penalty: float32[R].
    """

    def penalise() -> jax.Array:
        found = jnp.take_along_axis(scores, tokens, axis=1)  # [R, M]
        penalised = jnp.where(found < 0, found * penalty[:, None], found / penalty[:, None])
        nowhere = scores.shape[1]  # outside, where nothing is written
        where = jnp.where(jnp.arange(tokens.shape[1]) < step[:, None], tokens, nowhere)
        return scores.at[jnp.arange(len(scores))[:, None], where].set(penalised, mode="drop")

    return jax.lax.cond(jnp.any(penalty != 1), penalise, lambda: scores)


def _draw(logits: jax.Array, step: jax.Array, controls: Controls) -> jax.Array:
    """`int32[R]`, drawn with a key of the row's seed and step alone."""
    logits = logits / jnp.maximum(controls.temperature, jnp.finfo(jnp.float32).tiny)[:, None]
    order = jnp.argsort(logits, axis=-1, descending=True)
    logits = jnp.take_along_axis(logits, order, axis=-1)
    rank = jnp.arange(logits.shape[-1])
    logits = jnp.where((rank < controls.top_k[:, None]) | (controls.top_k[:, None] == 0), logits, -jnp.inf)
    probability = jax.nn.softmax(logits, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability  # what likelier tokens have together
    top_p = controls.top_p[:, None]
    logits = jnp.where((before < top_p) | (top_p >= 1) | (rank == 0), logits, -jnp.inf)
    noise = jax.vmap(lambda seed, step: jax.random.gumbel(jax.random.fold_in(jax.random.key(seed), step), rank.shape))(controls.seed, step)
    chosen = jnp.argmax(logits + noise, axis=-1)
    return jnp.take_along_axis(order, chosen[:, None], axis=-1)[:, 0]
