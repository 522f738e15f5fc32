"""Smooth Proximity Regularization: a load-balanced L1 of the gates with an adaptive coefficient.

Formulas: docs/reference.md section 2, "Auxiliary loss per MoH module". The adaptive numbers are explicit state
here; the original keeps them as module attributes that every forward pass advances, evaluation included.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.routing import RoutingStatistics


class SPRState(NamedTuple):
    """Adaptive numbers of the M routed modules in `QFormerConfig.routed_modules` order.

    Attributes:
      coefficient: float32[M], lambda in the reference.
      hae_weight: float32[M], w in the reference; see `objectives/hae.py`.
    """

    coefficient: jax.Array
    hae_weight: jax.Array


def initial_spr_state(objective: ObjectiveConfig, num_modules: int) -> SPRState:
    """State before the first training step; without modules one entry that stays as it is, since checkpoints hold no empty arrays."""
    shape = (max(num_modules, 1),)
    return SPRState(
        coefficient=jnp.full(shape, objective.spr_initial, jnp.float32),
        hae_weight=jnp.full(shape, objective.hae_initial_weight, jnp.float32),
    )


def next_coefficient(coefficient: jax.Array, active_rate: jax.Array, config: ObjectiveConfig) -> jax.Array:
    """Grows where more gates are on than wanted and shrinks where fewer are: float32[M].

    `active_rate - target` is the reference's `s* - (1 - S)`.
    """
    grown = coefficient * jnp.exp(config.spr_rate * (active_rate - config.target_active_rate))
    return jnp.clip(grown, config.spr_min, config.spr_max)


def spr_loss(statistics: RoutingStatistics, coefficient: jax.Array, config: ObjectiveConfig) -> jax.Array:
    """Sum over modules of coefficient * sum_j active_fraction_j * mean_gate_j: float32[].

    Takes the coefficient *after* its update. The active fraction only weighs the heads; the gradient goes
    through the mean gates.
    """
    load = jnp.sum(jax.lax.stop_gradient(statistics.active_fraction) * statistics.mean_gate, axis=-1)
    return config.spr_weight * jnp.sum(coefficient * load)
