"""Head Activation Enhancement: a penalty on routers that switch on fewer gates than wanted.

Formulas: docs/reference.md section 2. There the penalty is computed from a count and has no gradient, so it
never revives a head; `straight_through` and `smooth` give it the gradient of a sigmoid of the raw logits,
which also passes where the gate's clip is flat.
"""

import jax
import jax.numpy as jnp

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.routing import RoutingStatistics


def next_hae_weight(weight: jax.Array, active_rate: jax.Array, config: ObjectiveConfig) -> jax.Array:
    """Grows while a module is dead and starts over once it is not: float32[M]."""
    grown = jnp.minimum(config.hae_growth * weight, config.hae_max_weight)
    return jnp.where(active_rate < config.hae_dead_rate, grown, config.hae_initial_weight)


def hae_loss(statistics: RoutingStatistics, weight: jax.Array, config: ObjectiveConfig) -> jax.Array:
    """Sum over modules of weight * (exp(sharpness * (target - rate)) - 1) where the rate is below target.

    Takes the weight *after* its update. Returns float32[].
    """
    if config.hae_mode == "off":
        return jnp.zeros((), jnp.float32)
    deficit = config.target_active_rate - _penalised_rate(statistics, config.hae_mode)
    return jnp.sum(weight * jnp.where(deficit > 0, jnp.expm1(config.hae_sharpness * deficit), 0.0))


def _penalised_rate(statistics: RoutingStatistics, mode: str) -> jax.Array:
    """The activation rate by HAE mode: float32[M]."""
    counted = jax.lax.stop_gradient(statistics.active_rate)
    smooth = statistics.soft_active_rate
    if mode == "reference":
        return counted
    if mode == "straight_through":
        # The bracket is exactly zero, so the value is the count and the gradient the sigmoid's.
        return counted + (smooth - jax.lax.stop_gradient(smooth))
    if mode == "smooth":
        return smooth
    raise ValueError(f"unknown hae_mode '{mode}'")
