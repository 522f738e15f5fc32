"""The training loss and its named parts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.hae import hae_loss, next_hae_weight
from pvchat_jax.objectives.load_balance import load_balance_loss
from pvchat_jax.objectives.routing import RoutingStatistics
from pvchat_jax.objectives.spr import SPRState, next_coefficient, spr_loss


class Regularisation(NamedTuple):
    """Parts of the router regularisation, float32[] each, and the state after this batch."""

    parts: dict[str, jax.Array]
    spr: SPRState


def regularisation_loss(statistics: RoutingStatistics, spr: SPRState, config: ObjectiveConfig) -> tuple[jax.Array, Regularisation]:
    """The regularisers summed over modules: float32[] loss with its parts and the next state.

    MoH's `balance_loss` is a third part where `load_balance_weight` is not 0. Both adaptive numbers are updated before
    they are used, as in the reference, and carry no gradient.
    """
    if statistics.mean_gate.shape[0] == 0:  # nothing is routed
        return jnp.zeros(()), Regularisation({"spr_loss": jnp.zeros(()), "hae_loss": jnp.zeros(())}, spr)
    active_rate = jax.lax.stop_gradient(statistics.active_rate)
    updated = SPRState(
        coefficient=next_coefficient(spr.coefficient, active_rate, config),
        hae_weight=next_hae_weight(spr.hae_weight, active_rate, config),
    )
    parts = {
        "spr_loss": spr_loss(statistics, updated.coefficient, config),
        "hae_loss": hae_loss(statistics, updated.hae_weight, config),
    }
    if config.load_balance_weight:
        parts["balance_loss"] = load_balance_loss(statistics, config)
    return sum(parts.values()), Regularisation(parts, updated)


def total_loss(
    lm_loss: jax.Array, statistics: RoutingStatistics, spr: SPRState, config: ObjectiveConfig
) -> tuple[jax.Array, Regularisation]:
    """Language-modelling loss plus regularisation, unweighted as in the reference.

    Returns:
      float32[] loss, and parts `lm_loss`, `spr_loss`, `hae_loss` (with weight also `balance_loss`) that add up to it
      with the next state.
    """
    router_loss, regularisation = regularisation_loss(statistics, spr, config)
    parts = {"lm_loss": lm_loss, **regularisation.parts}
    return lm_loss + router_loss, Regularisation(parts, regularisation.spr)
