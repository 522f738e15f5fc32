"""Dense, norms, dropout of whole paths and remat policies: the parts that every tower shares.

Parameters are created in float32 and carry logical axis names (`pvchat_jax/sharding.py` maps the names
to mesh axes); `dtype` is the dtype of the computation.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.int8 import PROJECTION, project

Dtype = Any
Initializer = Callable[..., jax.Array]

TOKEN_INIT = nn.initializers.normal(0.02)
KERNEL_INIT = nn.initializers.lecun_normal()  # keeps activations at any width, which 0.02 does not below a width of 1000

_policies = jax.checkpoint_policies
_REMAT_POLICIES = {
    "full": None,
    "dots": _policies.save_from_both_policies(_policies.checkpoint_dots, _policies.save_only_these_names(PROJECTION)),
    "dots_with_no_batch_dims": _policies.save_from_both_policies(
        _policies.checkpoint_dots_with_no_batch_dims, _policies.save_only_these_names(PROJECTION)
    ),
}


def remat(module: type[nn.Module], policy: str) -> type[nn.Module]:
    """`module` with its activations recomputed in the backward pass as the named policy says."""
    if policy == "none":
        return module
    # inside nn.scan the loop already keeps XLA from merging the two forward passes
    return nn.remat(module, policy=_REMAT_POLICIES[policy], prevent_cse=False)


def scan_blocks(module: type[nn.Module], policy: str, length: int, num_broadcast: int) -> type[nn.Module]:
    """`module` repeated `length` times over a carry, with parameters stacked along a leading `layers` axis.

    Its `__call__(carry, *broadcast)` takes `num_broadcast` arguments that every block sees unchanged.
    """
    return nn.scan(
        remat(module, policy),
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast,) * num_broadcast,
        length=length,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )


class Dense(nn.Module):
    """Affine map of the last axis: `[..., in] -> [..., features]`; `axes` names (in, out) for sharding."""

    features: int
    axes: tuple[str | None, str | None]
    use_bias: bool = True
    kernel_init: Initializer = KERNEL_INIT
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        shape = (inputs.shape[-1], self.features)
        kernel = self.param("kernel", nn.with_logical_partitioning(self.kernel_init, self.axes), shape, jnp.float32)
        outputs = project(inputs.astype(self.dtype), kernel, self.axes)
        if self.use_bias:
            bias = self.param("bias", nn.with_logical_partitioning(self.bias_init, self.axes[1:]), shape[1:], jnp.float32)
            outputs += bias.astype(self.dtype)
        return outputs


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight; statistics in float32."""

    epsilon: float
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.with_logical_partitioning(nn.initializers.ones_init(), ("norm",)), inputs.shape[-1:], jnp.float32)
        x = inputs.astype(jnp.float32)
        x *= jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return (x * scale).astype(self.dtype)


class LayerNorm(nn.Module):
    """Layer norm with weight and bias; statistics in float32 from centred values, since epsilon is 1e-12."""

    epsilon: float
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        shape = inputs.shape[-1:]
        scale = self.param("scale", nn.with_logical_partitioning(nn.initializers.ones_init(), ("norm",)), shape, jnp.float32)
        bias = self.param("bias", nn.with_logical_partitioning(nn.initializers.zeros_init(), ("norm",)), shape, jnp.float32)
        x = inputs.astype(jnp.float32)
        x -= jnp.mean(x, axis=-1, keepdims=True)
        x *= jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return (x * scale + bias).astype(self.dtype)


def materialise(x: jax.Array) -> jax.Array:
    """`x`, computed once and stored before its use.

    For what takes many operations per element and is an operand of a matrix product: XLA's compiler for TPUs computes such an operand
    anew for each tile of the product, in code that is unrolled over the tiles and takes a minute to compile.
    """
    return jax.lax.optimization_barrier(x)


def gelu(x: jax.Array) -> jax.Array:
    """The exact (erf) GELU."""
    return materialise(nn.gelu(x, approximate=False))


class Dropout(nn.Module):
    """Zeroes each value with probability `rate` and rescales the others, as `flax.linen.Dropout` does and with the same bits."""

    rate: jax.typing.ArrayLike
    deterministic: bool
    broadcast_dims: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        if self.deterministic or (isinstance(self.rate, float | int) and self.rate == 0):
            return inputs
        shape = [1 if axis in self.broadcast_dims else size for axis, size in enumerate(inputs.shape)]
        kept = materialise(jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape))
        return jnp.where(kept, inputs / jnp.asarray(1 - self.rate, inputs.dtype), jnp.zeros_like(inputs))


class DropPath(nn.Module):
    """Drops whole samples of a residual branch (stochastic depth) and rescales the others."""

    rate: jax.typing.ArrayLike
    deterministic: bool

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        every_axis_but_batch = tuple(range(1, inputs.ndim))
        return Dropout(self.rate, self.deterministic, every_axis_but_batch)(inputs)
