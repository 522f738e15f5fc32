"""Recorded routers of the original and routers made by hand, shared by the tests of SPR and HAE."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.objectives.routing import RoutingStatistics, routing_statistics
from pvchat_jax.objectives.total import regularisation_loss

SLOPE = 10.0

# compiled as a whole, which takes a test a fraction of the time of compiling operation by operation
regularise = jax.jit(regularisation_loss, static_argnums=2)


class Routing(NamedTuple):
    logits: jax.Array
    gates: jax.Array


def load_goldens() -> dict[str, np.ndarray]:
    """Arrays of tests/goldens/attention.npz by name."""
    with np.load(Path(__file__).parent.parent / "goldens" / "attention.npz") as archive:
        return dict(archive)


def recorded_logits(goldens: dict[str, np.ndarray], prefix: str, x: np.ndarray) -> np.ndarray:
    """Raw output of the recorded router `prefix` for hidden states x: [B, T, D]."""
    router = f"{prefix}/weights/self.router_alpha.router"
    return x @ goldens[f"{router}.weight"].T + goldens[f"{router}.bias"]


@jax.jit
def statistics_of(*logits: jax.Array) -> RoutingStatistics:
    """Statistics of one module for each array of logits [B, T, R], with gates as the model computes them."""
    routing = {f"{index}.self": Routing(value, jax.nn.relu(jnp.clip(value, -1, 10))) for index, value in enumerate(logits)}
    return routing_statistics(routing, list(routing), SLOPE)
