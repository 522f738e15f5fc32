"""Statistics of the routers that the regularisers are functions of."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Routing(Protocol):
    """What one routed attention module reports: raw router outputs and gates, float[clips, tokens, R] each."""

    @property
    def logits(self) -> jax.Array: ...

    @property
    def gates(self) -> jax.Array: ...


class RoutingStatistics(NamedTuple):
    """Means over clips and tokens; those of equally large micro-batches average to those of the whole batch.

    Attributes:
      active_fraction: float32[M, R], share of gates above zero; carries no gradient.
      mean_gate: float32[M, R].
      soft_active_rate: float32[M], mean of sigmoid(slope * logit); differentiable where gates are clipped.
      mean_probability: float32[M, R], mean of softmax(logits) over the heads, chosen or not.
    """

    active_fraction: jax.Array
    mean_gate: jax.Array
    soft_active_rate: jax.Array
    mean_probability: jax.Array

    @property
    def active_rate(self) -> jax.Array:
        """Share of all gates of a module that are above zero, S in the reference: float32[M]."""
        return jnp.mean(self.active_fraction, axis=-1)


def routing_statistics(routing: Mapping[str, Routing], modules: Sequence[str], slope: float) -> RoutingStatistics:
    """Statistics of every module, in the order of `modules`.

    Args:
      routing: module name to its router's outputs; text and padding rows count, as in the reference.
      modules: `QFormerConfig.routed_modules`; may be empty.
      slope: factor on the logits inside the sigmoid.
    """
    if not modules:
        return RoutingStatistics(jnp.zeros((0, 1)), jnp.zeros((0, 1)), jnp.zeros((0,)), jnp.zeros((0, 1)))
    per_module = [_module_statistics(routing[name], slope) for name in modules]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_module)


def _module_statistics(routing: Routing, slope: float) -> RoutingStatistics:
    gates = routing.gates.astype(jnp.float32)
    logits = routing.logits.astype(jnp.float32)
    rows = tuple(range(gates.ndim - 1))
    return RoutingStatistics(
        active_fraction=jax.lax.stop_gradient(jnp.mean((gates > 0).astype(jnp.float32), axis=rows)),
        mean_gate=jnp.mean(gates, axis=rows),
        soft_active_rate=jnp.mean(jax.nn.sigmoid(slope * logits)),
        mean_probability=jnp.mean(jax.nn.softmax(logits), axis=rows),
    )
