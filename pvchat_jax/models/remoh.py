"""ReMoH: attention whose heads are shared or routed per token (docs/reference.md section 2, "MoH layers").

Routed heads are gated by ReLU, as in the reference, or by the softmax and top-k of MoH.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.config import ReMoHConfig
from pvchat_jax.models.layers import Dense

GATE_RANGE = (-1.0, 10.0)
MIXING_RANGE = (-1.0, 1.0)
NEAR_ZERO = nn.initializers.normal(1e-5)


class Routing(NamedTuple):
    """What a router decided for each token, as values (float32) for the objectives.

    Attributes:
      logits: float[B, T, R] before the clip, R routed heads.
      gates: float[B, T, R] in [0, 10] (ReLU) or [0, R] (softmax), exactly 0 where the head is off.
      mixing: float[B, T, 2] softmax weights of the shared and the routed heads.
    """

    logits: jax.Array
    gates: jax.Array
    mixing: jax.Array


def relu_gates(logits: jax.Array) -> jax.Array:
    """Gates of the reference, any number of them on: float[B, T, R] -> float[B, T, R] in [0, 10]."""
    return nn.relu(jnp.clip(logits, *GATE_RANGE))


def softmax_gates(logits: jax.Array, top_k: int) -> jax.Array:
    """Gates of MoH (Jin et al., 2024): float[B, T, R] -> float[B, T, R] with `top_k` of each R above 0.

    The probabilities are times R, so that an even router multiplies the heads that it keeps by 1, whatever R and
    `top_k` are. MoH's code divides them by their sum over the kept heads instead and multiplies by `top_k`, which at
    an even router is the same, but makes the one gate of `top_k=1` a constant without gradient. Ties go to the lower
    index.
    """
    num_heads = logits.shape[-1]
    _, chosen = jax.lax.top_k(logits, top_k)  # [B, T, top_k]
    kept = jnp.sum(nn.one_hot(chosen, num_heads), axis=-2)  # [B, T, R]
    return num_heads * nn.softmax(logits) * kept


class HeadRouter(nn.Module):
    """Decides from `float[B, T, D]` how much each routed head counts; always computed in float32.

    Gates are `relu_gates`, or with a number in `top_k` the `softmax_gates` of so many heads. Parameters are the same.
    """

    num_routed_heads: int
    initialisation: str
    top_k: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> Routing:
        x = x.astype(jnp.float32)
        if self.initialisation == "identity":  # gate 1 and weights one half, whatever the input
            kernel_init, bias_init = nn.initializers.zeros_init(), nn.initializers.ones_init()
        else:
            kernel_init, bias_init = NEAR_ZERO, nn.initializers.zeros_init()
        # Equal logits would be a tie that sends every token to the same heads, so softmax routers never start with them.
        router_init = kernel_init if self.top_k is None else NEAR_ZERO
        logits = Dense(self.num_routed_heads, ("embed", "router"), kernel_init=router_init, bias_init=bias_init, name="router")(x)
        mixing = Dense(2, ("embed", None), use_bias=False, kernel_init=kernel_init, name="mixing")(x)
        gates = relu_gates(logits) if self.top_k is None else softmax_gates(logits, self.top_k)
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
