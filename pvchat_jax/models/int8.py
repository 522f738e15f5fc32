"""Kernels that do not train, stored as int8 with a float scale per output channel.

Stored so, a kernel takes half the memory of bfloat16. It is computed with in floats: each use makes them anew, one layer at a
time, and the compiler makes them on the way into the matrix product where it can.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from pvchat_jax.sharding import gather_for_batch

LARGEST = 127  # -128 is left out, so that zero is in the middle
PROJECTION = "int8_projection"  # by this name remat policies know the results of products that they do not see


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8Kernel:
    """The kernel `values * scale`, in the place of float[..., in, out] in a tree of parameters.

    It is a node of the tree with two leaves, so that a scan over layers slices both; these may be abstract arrays as well,
    or shardings.

    Attributes:
      values: int8[..., in, out]. Flax compares the shape of the first leaf with that of the parameter.
      scale: float32[..., 1, out].
    """

    values: jax.Array
    scale: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the kernel."""
        return self.values.shape

    @property
    def size(self) -> int:
        """Parameters of the kernel; the scale adds none."""
        return self.values.size


def quantise(kernel: jax.Array) -> Int8Kernel:
    """float[..., in, out] -> the nearest of 255 evenly spaced numbers up to the largest of the output channel, half a step off at most."""
    kernel = kernel.astype(jnp.float32)
    scale = jnp.max(jnp.abs(kernel), axis=-2, keepdims=True) / LARGEST
    steps = jnp.round(kernel / jnp.where(scale > 0, scale, 1))
    return Int8Kernel(steps.astype(jnp.int8), scale)


def dequantise(kernel: Int8Kernel, dtype: jnp.dtype) -> jax.Array:
    """The kernel in floats: [..., in, out]."""
    return (kernel.values.astype(jnp.float32) * kernel.scale).astype(dtype)


def project(inputs: jax.Array, kernel: jax.Array | Int8Kernel, axes: tuple[str | None, str | None]) -> jax.Array:
    """`inputs @ kernel` in the dtype of the inputs: float[..., in] -> float[..., out]. An `Int8Kernel` gets no gradient.

    Args:
      axes: logical names of the kernel's (in, out).
    """
    if isinstance(kernel, Int8Kernel):
        return checkpoint_name(_project_int8(inputs, kernel, axes), PROJECTION)
    return inputs @ kernel.astype(inputs.dtype)


def _whole_floats(kernel: Int8Kernel, axes: tuple[str | None, str | None], dtype: jnp.dtype) -> jax.Array:
    """`dequantise` after the devices have told each other their parts: int8 is half of what there would be to tell afterwards."""
    return dequantise(Int8Kernel(gather_for_batch(kernel.values, *axes), gather_for_batch(kernel.scale, None, axes[1])), dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _project_int8(inputs: jax.Array, kernel: Int8Kernel, axes: tuple[str | None, str | None]) -> jax.Array:
    """Its own gradient keeps int8 for the backward pass, for which jax would keep the floats of all layers at once."""
    return inputs @ _whole_floats(kernel, axes, inputs.dtype)


def _project_int8_forward(inputs: jax.Array, kernel: Int8Kernel, axes: tuple[str | None, str | None]) -> tuple[jax.Array, Int8Kernel]:
    return inputs @ _whole_floats(kernel, axes, inputs.dtype), kernel


def _project_int8_backward(axes: tuple[str | None, str | None], kernel: Int8Kernel, gradient: jax.Array) -> tuple[jax.Array, None]:
    return gradient @ _whole_floats(kernel, axes, gradient.dtype).T, None


_project_int8.defvjp(_project_int8_forward, _project_int8_backward)
