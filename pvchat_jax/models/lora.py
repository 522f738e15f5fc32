"""Dense layers with an optional low-rank adapter (LoRA, arXiv 2106.09685)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.int8 import project
from pvchat_jax.models.layers import KERNEL_INIT, Dropout, Dtype


def _uniform_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: Dtype) -> jax.Array:
    """PEFT's initialisation of A: Kaiming-uniform with a = sqrt(5), that is U(-1/sqrt(in), 1/sqrt(in))."""
    bound = 1 / math.sqrt(shape[0])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


@jax.custom_vjp
def _expand(low: jax.Array, lora_b: jax.Array) -> jax.Array:
    """`low @ lora_b`: float[..., rank], float[rank, out] -> float[..., out].

    Its own gradient differs from jax's in the order of factors alone. With jax's order XLA transposes the gradient of the wide
    output on the CPU, which took longer than the matrix products themselves.
    """
    return low @ lora_b


def _expand_forward(low: jax.Array, lora_b: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return low @ lora_b, (low, lora_b)


def _expand_backward(factors: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    low, lora_b = factors
    tokens = tuple(range(low.ndim - 1))
    return gradient @ lora_b.T, jnp.tensordot(low, gradient, (tokens, tokens))


_expand.defvjp(_expand_forward, _expand_backward)


class LoRADense(nn.Module):
    """`x @ kernel + scale * (dropout(x) @ lora_a) @ lora_b`, no bias; rank 0 is a plain matrix product.

    The kernel is meant to be frozen in bfloat16 or int8 and the two factors trained in float32, so the base path
    keeps its name whether or not there is an adapter. A call may say whether it is `deterministic` itself.
    """

    features: int
    axes: tuple[str, str]
    rank: int = 0
    scale: float = 1.0
    dropout: float = 0.0
    deterministic: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool | None = None) -> jax.Array:
        deterministic = self.deterministic if deterministic is None else deterministic
        inputs = inputs.astype(self.dtype)
        size = inputs.shape[-1]
        kernel = self.param("kernel", nn.with_logical_partitioning(KERNEL_INIT, self.axes), (size, self.features), jnp.float32)
        outputs = project(inputs, kernel, self.axes)
        if self.rank:
            a_init = nn.with_logical_partitioning(_uniform_fan_in, (self.axes[0], "lora"))
            b_init = nn.with_logical_partitioning(nn.initializers.zeros_init(), ("lora", self.axes[1]))
            lora_a = self.param("lora_a", a_init, (size, self.rank), jnp.float32)
            lora_b = self.param("lora_b", b_init, (self.rank, self.features), jnp.float32)
            dropped = Dropout(self.dropout, deterministic)(inputs)
            low = self.scale * (dropped @ lora_a.astype(self.dtype))  # [..., rank]
            outputs += _expand(low, lora_b.astype(self.dtype))
        return outputs
