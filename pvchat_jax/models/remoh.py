"""ReMoH: attention whose heads are shared or ReLU-routed per token (docs/reference.md section 2, "MoH layers")."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.config import ReMoHConfig
from pvchat_jax.models.layers import Dense

GATE_RANGE = (-1.0, 10.0)
MIXING_RANGE = (-1.0, 1.0)


class Routing(NamedTuple):
    """What a router decided for each token, as values (float32) for the objectives.

    Attributes:
      logits: float[B, T, R] before the clip, R routed heads.
      gates: float[B, T, R] in [0, 10], 0 where the head is off.
      mixing: float[B, T, 2] softmax weights of the shared and the routed heads.
    """

    logits: jax.Array
    gates: jax.Array
    mixing: jax.Array


class HeadRouter(nn.Module):
    """Decides from `float[B, T, D]` how much each routed head counts; always computed in float32."""

    num_routed_heads: int
    initialisation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> Routing:
        x = x.astype(jnp.float32)
        if self.initialisation == "identity":  # gate 1 and weights one half, whatever the input
            kernel_init, bias_init = nn.initializers.zeros_init(), nn.initializers.ones_init()
        else:
            kernel_init, bias_init = nn.initializers.normal(1e-5), nn.initializers.zeros_init()
        logits = Dense(self.num_routed_heads, ("embed", "router"), kernel_init=kernel_init, bias_init=bias_init, name="router")(x)
        mixing = Dense(2, ("embed", None), use_bias=False, kernel_init=kernel_init, name="mixing")(x)
        gates = nn.relu(jnp.clip(logits, *GATE_RANGE))
        return Routing(logits, gates, nn.softmax(jnp.clip(mixing, *MIXING_RANGE)))


def weigh_heads(head_outputs: jax.Array, routing: Routing, config: ReMoHConfig) -> jax.Array:
    """Multiplies shared heads by mixing[0] and routed ones by mixing[1] * gate, per token.

    Args:
      head_outputs: float[B, T, N, D]; the first `config.num_shared_heads` heads are the shared ones.
      routing: of the same B tokens T, with N - num_shared_heads gates.
      config: gives the number of shared heads and the factor on the mixing weights.

    Returns:
      float[B, T, N, D].
    """
    shared, routed = routing.mixing[..., :1], routing.mixing[..., 1:]  # [B, T, 1] each
    shared = jnp.broadcast_to(shared, (*shared.shape[:-1], config.num_shared_heads))
    weights = config.mixing_scale * jnp.concatenate([shared, routed * routing.gates], axis=-1)  # [B, T, N]
    return head_outputs * weights[..., None].astype(head_outputs.dtype)
