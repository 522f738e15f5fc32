"""Kernels in int8: how near they are, and what is computed, kept and sent with them."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.models.int8 import Int8Kernel, dequantise, project, quantise
from pvchat_jax.models.layers import remat
from pvchat_jax.models.lora import LoRADense
from pvchat_jax.sharding import make_mesh, mesh_context

AXES = ("embed", "mlp")
FLOATS = st.integers(-(10**6), 10**6).map(lambda number: number / 997)


def random_kernel(*shape: int) -> np.ndarray:
    """Output channels of very different sizes."""
    random = np.random.default_rng(0)
    return (random.standard_normal(shape) * 10 ** random.uniform(-3, 1, shape[-1])).astype(np.float32)


@settings(deadline=None, max_examples=60)  # the first of each shape compiles
@given(arrays(np.float32, st.sampled_from([(4, 3), (2, 1, 5)]), elements=FLOATS))
def test_numbers_are_half_a_step_off_at_most(kernel: np.ndarray) -> None:
    stored = quantise(jnp.asarray(kernel))
    step = np.abs(kernel).max(axis=-2, keepdims=True) / 127
    assert stored.values.dtype == jnp.int8 and stored.values.shape == kernel.shape and stored.scale.shape == step.shape
    error = np.abs(np.asarray(dequantise(stored, jnp.float32), np.float64) - kernel)
    assert np.all(error <= step * 0.5001)  # and what float32 rounds


def test_it_is_computed_with_as_with_the_floats_and_gets_no_gradient() -> None:
    random = np.random.default_rng(1)
    inputs, weights = (random.standard_normal((2, 5, size)).astype(np.float32) for size in (6, 4))
    params = {"kernel": quantise(random_kernel(6, 4)), "lora_a": random_kernel(6, 3), "lora_b": random_kernel(3, 4)}
    floats = {**params, "kernel": dequantise(params["kernel"], jnp.float32)}
    dense = LoRADense(4, AXES, rank=3)

    def total(params: dict, inputs: jax.Array) -> jax.Array:
        return (weights * dense.apply({"params": params}, inputs)).sum()

    found = jax.value_and_grad(total, (0, 1), allow_int=True)(params, inputs)
    expected = jax.value_and_grad(total, (0, 1))(floats, inputs)
    by_kernel = found[1][0].pop("kernel")
    del expected[1][0]["kernel"]
    assert by_kernel.values.dtype == jax.dtypes.float0 and not np.any(by_kernel.scale)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


def test_the_backward_pass_keeps_no_floats_of_a_kernel() -> None:
    kernel = quantise(random_kernel(64, 32))
    _, pullback = jax.vjp(lambda inputs: project(inputs, kernel, AXES), jnp.ones((3, 64)))
    kept = {(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(pullback)}
    assert ((64, 32), "int8") in kept and ((64, 32), "float32") not in kept


class Sine(nn.Module):
    """Whose gradient needs the product itself."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        return jnp.sin(LoRADense(8, AXES)(inputs))


@pytest.mark.parametrize("policy", ["dots", "dots_with_no_batch_dims"])
def test_policies_that_keep_products_keep_these(policy: str) -> None:
    """Otherwise the backward pass would compute each once more; with full recomputation it does."""
    inputs, params = jnp.ones((3, 8)), {"params": {"LoRADense_0": {"kernel": quantise(random_kernel(8, 8))}}}

    def products(policy: str) -> int:
        gradient = jax.grad(lambda inputs: remat(Sine, policy)().apply(params, inputs).sum())
        return str(jax.make_jaxpr(gradient)(inputs)).count("dot_general")

    assert products(policy) == products("none") == products("full") - 1


def test_devices_send_each_other_int8() -> None:
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    kernel = quantise(random_kernel(64, 32))
    spec = jax.sharding.NamedSharding(mesh, jax.P("fsdp", "tensor"))
    scale = jax.sharding.NamedSharding(mesh, jax.P(None, "tensor"))
    inputs = jax.device_put(jnp.ones((8, 64)), jax.sharding.NamedSharding(mesh, jax.P("fsdp")))
    with mesh_context(mesh):
        placed = jax.device_put(kernel, Int8Kernel(spec, scale))
        compiled = jax.jit(lambda inputs, kernel: project(inputs, kernel, AXES)).lower(inputs, placed).compile()
    gathered = re.findall(r"= (\w+\[[\d,]*\])\S* all-gather\(", compiled.as_text())
    assert gathered == ["s8[64,16]"]
