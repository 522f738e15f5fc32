"""Head Activation Enhancement: the value in each mode, and whether it can revive dead heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.hae import hae_loss
from pvchat_jax.objectives.spr import initial_spr_state
from tests.objectives.routers import SLOPE, regularise, statistics_of

WEIGHT = jnp.asarray([0.5], jnp.float32)
# 3 of 8 gates are on, target 4 of 8; two of them are barely off
LOGITS = jnp.asarray([[[0.4, -0.05, 1.0, -3.0], [-0.2, 12.0, -0.02, -1.5]]], jnp.float32)
X = np.random.default_rng(0).normal(size=(2, 6, 16)).astype(np.float32) * 0.05
# every logit is below the clip, where a gate passes no gradient
DEAD_ROUTER = (np.zeros((16, 4), np.float32), np.full((4,), -1.2, np.float32))


@functools.partial(jax.jit, static_argnums=0)
def value(mode: str, logits: jax.Array = LOGITS) -> jax.Array:
    return hae_loss(statistics_of(logits), WEIGHT, ObjectiveConfig(hae_mode=mode))


def penalty(rate: float) -> float:
    return float(WEIGHT[0]) * (np.exp(2 * (0.5 - rate)) - 1)


@functools.partial(jax.jit, static_argnums=1)
def router_loss(router: tuple[jax.Array, jax.Array], mode: str) -> jax.Array:
    kernel, bias = router
    config = ObjectiveConfig(hae_mode=mode)
    return regularise(statistics_of(X @ kernel + bias), initial_spr_state(config, 1), config)[0]


@pytest.mark.parametrize("mode", ["reference", "straight_through"])
def test_value_is_that_of_the_count(mode: str):
    np.testing.assert_allclose(value(mode), penalty(3 / 8), rtol=1e-6)


def test_smooth_value_is_that_of_the_sigmoid():
    np.testing.assert_allclose(value("smooth"), penalty(np.mean(1 / (1 + np.exp(-SLOPE * np.asarray(LOGITS, np.float64))))), rtol=1e-5)


def test_off_is_zero():
    assert value("off") == 0


@pytest.mark.parametrize("mode", ["reference", "straight_through", "smooth"])
def test_no_penalty_at_or_above_the_target(mode: str):
    assert value(mode, jnp.asarray([[[5.0, 5.0, 5.0, -5.0]]])) == 0


def test_straight_through_gradient_is_the_sigmoids_at_the_counted_rate():
    gradient = jax.jit(jax.grad(lambda logits: value("straight_through", logits)))(LOGITS)
    on = 1 / (1 + np.exp(-SLOPE * np.asarray(LOGITS, np.float64)))
    expected = -2 * (penalty(3 / 8) + 0.5) * SLOPE * on * (1 - on) / LOGITS.size
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("mode", ["straight_through", "smooth"])
def test_dead_heads_come_alive(mode: str):
    optimizer = optax.adam(0.1)
    router, opt_state = DEAD_ROUTER, optimizer.init(DEAD_ROUTER)

    @jax.jit
    def step(router, opt_state):
        updates, opt_state = optimizer.update(jax.grad(router_loss)(router, mode), opt_state)
        return optax.apply_updates(router, updates), opt_state

    for _ in range(25):
        router, opt_state = step(router, opt_state)
    assert statistics_of(X @ DEAD_ROUTER[0] + DEAD_ROUTER[1]).active_rate == 0
    assert statistics_of(X @ router[0] + router[1]).active_rate > 0.4


def test_original_leaves_dead_heads_without_any_gradient():
    loss, gradients = jax.jit(jax.value_and_grad(lambda router: router_loss(router, "reference")))(DEAD_ROUTER)
    assert loss > 1
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))
