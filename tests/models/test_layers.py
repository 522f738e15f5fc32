"""Dropout draws what Flax draws; what is costly per element is stored before a matrix product."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.models.layers import Dropout, gelu


class Sides(nn.Module):
    """Two dropouts with the names that Flax gives, of ours or of Flax's own class."""

    ours: bool
    broadcast_dims: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> list[jax.Array]:
        made = [self._made(0.3, deterministic), self._made(0.0, deterministic), self._made(0.6, deterministic)]
        return [dropout(x) for dropout in made]

    def _made(self, rate: float, deterministic: bool) -> nn.Module:
        if self.ours:
            return Dropout(rate, deterministic, self.broadcast_dims)
        return nn.Dropout(rate, broadcast_dims=self.broadcast_dims, deterministic=deterministic)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("broadcast_dims", [(), (1, 2)])
def test_dropout_draws_what_flax_draws(broadcast_dims, deterministic):
    x = jax.random.normal(jax.random.key(1), (6, 4, 5))
    ours, theirs = (Sides(ours, broadcast_dims).apply({}, x, deterministic, rngs={"dropout": jax.random.key(2)}) for ours in (True, False))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_dropped_values_have_no_gradient():
    x = jnp.ones((8, 8))
    dropout = Dropout(0.5, deterministic=False)
    apply = lambda x: dropout.apply({}, x, rngs={"dropout": jax.random.key(0)})  # noqa: E731
    np.testing.assert_array_equal(jax.grad(lambda x: apply(x).sum())(x), apply(x))


def test_operands_of_products_are_stored_first():
    """Without the barrier XLA draws the bits, or evaluates erf, once per tile of the product: minutes of compilation for a TPU."""
    x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    dropout = Dropout(0.5, deterministic=False)
    lowered = jax.jit(lambda x: dropout.apply({}, x, rngs={"dropout": jax.random.key(0)}) @ x).lower(x).as_text()
    assert "optimization_barrier" in lowered
    assert "optimization_barrier" in jax.jit(lambda x: gelu(x) @ x).lower(x).as_text()
