"""How parameters that do not train are kept: all in one float type, or the towers' kernels in int8 and the rest in bfloat16."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from pvchat_jax.models.int8 import Int8Kernel, quantise
from pvchat_jax.training.partition import Params

# Nearly all of the parameters. Norms, biases and tables are small, and the low-rank factors of an earlier stage exact.
_INT8 = re.compile(r"(vision_encoder|language_model)/(.*/)?kernel")


def stored_like(frozen: Params, frozen_dtype: str) -> Params:
    """The abstract parameters `frozen` as `TrainConfig.frozen_dtype` keeps them: other dtypes, and `Int8Kernel`s."""
    flat = flatten_dict(frozen, sep="/")
    if frozen_dtype == "int8":
        stored = {path: _int8(leaf) if _INT8.fullmatch(path) else _retyped(leaf, jnp.bfloat16) for path, leaf in flat.items()}
    else:
        stored = {path: _retyped(leaf, frozen_dtype) for path, leaf in flat.items()}
    return unflatten_dict(stored, sep="/")


def read_like(stored: Any) -> Any:
    """What to read from a file for parameters to be stored like `stored`, a tree or a leaf: floats instead of `Int8Kernel`s."""

    def floats(leaf: Any) -> jax.ShapeDtypeStruct:
        return _retyped(leaf.values, jnp.float32) if isinstance(leaf, Int8Kernel) else leaf

    return jax.tree.map(floats, stored, is_leaf=_is_int8)


def portions(stored: Mapping[str, Any]) -> list[Collection[str]]:
    """Names that are to be read together: so that at most one kernel exists in floats, each of int8 alone."""
    int8 = [name for name, leaf in stored.items() if _is_int8(leaf)]
    others = [name for name in stored if name not in set(int8)]
    return [part for part in (others, *([name] for name in int8)) if part]


def store(parameter: jax.Array, stored: Any) -> jax.Array | Int8Kernel:
    """A parameter of any float type as `stored` says, an abstract leaf of `stored_like`."""
    if not _is_int8(stored):
        return parameter.astype(stored.dtype)
    # compiled, so that each device makes its own part
    return jax.jit(quantise, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, stored))(parameter)


def _is_int8(leaf: Any) -> bool:
    return isinstance(leaf, Int8Kernel)


def _int8(leaf: jax.ShapeDtypeStruct) -> Int8Kernel:
    """The scale lies like the kernel's output channels."""
    *outer, _, channels = leaf.shape
    *outer_axes, _, channel_axis = (*leaf.sharding.spec, *(None,) * (len(leaf.shape) - len(leaf.sharding.spec)))
    sharding = NamedSharding(leaf.sharding.mesh, PartitionSpec(*outer_axes, None, channel_axis))
    scale = jax.ShapeDtypeStruct((*outer, 1, channels), jnp.float32, sharding=sharding)
    return Int8Kernel(_retyped(leaf, jnp.int8), scale)


def _retyped(leaf: jax.ShapeDtypeStruct, dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype), sharding=leaf.sharding)
