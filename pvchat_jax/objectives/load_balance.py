"""The load-balance loss of MoH (Jin et al., 2024), for routers that keep a fixed number of heads per token."""

import jax
import jax.numpy as jnp

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.routing import RoutingStatistics


def load_balance_loss(statistics: RoutingStatistics, config: ObjectiveConfig) -> jax.Array:
    """Weight * sum over modules of sum_i active_fraction_i * mean_probability_i: float32[].

    An even router gives top_k / R per module. The active fraction only weighs the heads; the gradient goes through
    the probabilities.
    """
    return config.load_balance_weight * jnp.sum(jax.lax.stop_gradient(statistics.active_fraction) * statistics.mean_probability)
