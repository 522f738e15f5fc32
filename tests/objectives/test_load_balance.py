"""The load-balance loss of MoH against its definition, and how it joins the other parts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.load_balance import load_balance_loss
from pvchat_jax.objectives.routing import RoutingStatistics, routing_statistics
from pvchat_jax.objectives.spr import initial_spr_state
from pvchat_jax.objectives.total import total_loss
from tests.objectives.routers import SLOPE, Routing, regularise

CONFIG = ObjectiveConfig(spr_weight=0.0, hae_mode="off", load_balance_weight=0.25)
LOGITS = np.random.default_rng(0).normal(size=(2, 3, 6, 4)).astype(np.float32)  # two modules
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
CHOSEN = np.sort(LOGITS, axis=-1)[..., 2:3] <= LOGITS  # two of four heads
SHARES = CHOSEN.mean((1, 2))


@jax.jit
def statistics_of(logits: jax.Array) -> RoutingStatistics:
    """Statistics of modules that gate as a softmax router does: logits float[M, B, T, R]."""
    routing = {str(index): Routing(module, 4 * jax.nn.softmax(module) * CHOSEN[index]) for index, module in enumerate(logits)}
    return routing_statistics(routing, list(routing), SLOPE)


def test_value_is_share_of_tokens_times_mean_probability_summed_over_heads_and_modules():
    expected = 0.25 * (SHARES * PROBABILITIES.mean((1, 2))).sum()
    np.testing.assert_allclose(load_balance_loss(statistics_of(LOGITS), CONFIG), expected, rtol=1e-6)


def test_gradient_goes_through_all_probabilities_and_not_through_the_choice():
    gradient = jax.jit(jax.grad(lambda logits: load_balance_loss(statistics_of(logits), CONFIG)))(LOGITS)
    shares = SHARES[:, None, None]
    expected = 0.25 / 18 * PROBABILITIES * (shares - (shares * PROBABILITIES).sum(-1, keepdims=True))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_crowded_heads_cost_more_than_even_ones():
    chosen = jnp.asarray([[1.0, 1.0, 0.0, 0.0]] * 2)
    crowded = statistics_of(LOGITS)._replace(active_fraction=chosen, mean_probability=0.5 * chosen)
    even = crowded._replace(active_fraction=jnp.full((2, 4), 0.5), mean_probability=jnp.full((2, 4), 0.25))
    np.testing.assert_allclose(load_balance_loss(even, CONFIG), 0.25 * 2 * 0.5)
    np.testing.assert_allclose(load_balance_loss(crowded, CONFIG), 0.25 * 2 * 1.0)


def test_it_is_a_part_of_its_own_that_the_loss_includes():
    statistics, spr = statistics_of(LOGITS), initial_spr_state(CONFIG, 2)
    loss, (parts, _) = jax.jit(total_loss, static_argnums=3)(jnp.float32(2.0), statistics, spr, CONFIG)
    assert set(parts) == {"lm_loss", "spr_loss", "hae_loss", "balance_loss"}
    assert parts["spr_loss"] == parts["hae_loss"] == 0 < parts["balance_loss"]
    np.testing.assert_allclose(loss, 2.0 + parts["balance_loss"], rtol=1e-6)


def test_spr_with_a_constant_coefficient_is_another_loss():
    constant = dataclasses.replace(CONFIG, spr_weight=1.0, spr_rate=0.0, spr_initial=0.25 / 4, load_balance_weight=0.0)
    statistics = statistics_of(LOGITS)
    loss, (parts, after) = regularise(statistics, initial_spr_state(constant, 2), constant)
    np.testing.assert_array_equal(after.coefficient, np.float32(0.25 / 4))
    np.testing.assert_allclose(parts["spr_loss"], 0.25 * (SHARES * (PROBABILITIES * CHOSEN).mean((1, 2))).sum(), rtol=1e-6)
    assert loss < 0.9 * load_balance_loss(statistics, CONFIG)
