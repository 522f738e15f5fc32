"""Dense layers with an optional low-rank adapter (LoRA, arXiv 2106.09685)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.layers import KERNEL_INIT, Dtype


def _uniform_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: Dtype) -> jax.Array:
    """PEFT's initialisation of A: Kaiming-uniform with a = sqrt(5), that is U(-1/sqrt(in), 1/sqrt(in))."""
    bound = 1 / math.sqrt(shape[0])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class LoRADense(nn.Module):
    """`x @ kernel + scale * (dropout(x) @ lora_a) @ lora_b`, no bias; rank 0 is a plain matrix product.

    The kernel is meant to be frozen in bfloat16 and the two factors trained in float32, so the base path
    keeps its name whether or not there is an adapter.
    """

    features: int
    axes: tuple[str, str]
    rank: int = 0
    scale: float = 1.0
    dropout: float = 0.0
    deterministic: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        inputs = inputs.astype(self.dtype)
        size = inputs.shape[-1]
        kernel = self.param("kernel", nn.with_logical_partitioning(KERNEL_INIT, self.axes), (size, self.features), jnp.float32)
        outputs = inputs @ kernel.astype(self.dtype)
        if self.rank:
            a_init = nn.with_logical_partitioning(_uniform_fan_in, (self.axes[0], "lora"))
            b_init = nn.with_logical_partitioning(nn.initializers.zeros_init(), ("lora", self.axes[1]))
            lora_a = self.param("lora_a", a_init, (size, self.rank), jnp.float32)
            lora_b = self.param("lora_b", b_init, (self.rank, self.features), jnp.float32)
            dropped = nn.Dropout(self.dropout, deterministic=self.deterministic)(inputs)
            low = dropped @ lora_a.astype(self.dtype)  # [..., rank]
            outputs += self.scale * (low @ lora_b.astype(self.dtype))
        return outputs
