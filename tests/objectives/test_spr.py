"""Smooth Proximity Regularization and its state against numbers recorded from the original."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.objectives.routing import routing_statistics
from pvchat_jax.objectives.spr import SPRState, initial_spr_state
from tests.objectives.routers import SLOPE, Routing, load_goldens, recorded_logits, regularise, statistics_of

GOLDENS = load_goldens()
REFERENCE = ObjectiveConfig(hae_mode="reference", spr_rate=0.8)
ON, OFF = np.full((2, 5, 4), 2.0, np.float32), np.full((2, 5, 4), -0.5, np.float32)


def state(coefficient: float, hae_weight: float) -> SPRState:
    return SPRState(jnp.asarray([coefficient], jnp.float32), jnp.asarray([hae_weight], jnp.float32))


def assert_state(spr: SPRState, coefficient: float, hae_weight: float) -> None:
    np.testing.assert_allclose(spr.coefficient, [coefficient], rtol=1e-5)
    np.testing.assert_allclose(spr.hae_weight, [hae_weight], rtol=1e-5)


@pytest.mark.parametrize("case", ["default", "big", "tiny"])
def test_ten_batches_like_the_original(case: str):
    golden = {key.removeprefix(f"seq/{case}/"): value for key, value in GOLDENS.items() if key.startswith(f"seq/{case}/")}
    spr = state(golden["init_lambda"], golden["init_alignment_weight"])
    for index, x in enumerate(GOLDENS["seq/x"]):
        statistics = statistics_of(recorded_logits(GOLDENS, "seq", x))
        np.testing.assert_allclose(statistics.active_rate, [golden["active_rate"][index]], rtol=1e-5)
        loss, (parts, spr) = regularise(statistics, spr, REFERENCE)
        assert_state(spr, golden["lambda_after"][index], golden["alignment_weight"][index])
        np.testing.assert_allclose(parts["spr_loss"], golden["lb_loss_ori"][index], rtol=1e-5)
        weighted_penalty = golden["alignment_weight"][index] * golden["alignment_loss"][index]
        np.testing.assert_allclose(parts["hae_loss"], weighted_penalty, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(loss, golden["all_loss"][index], rtol=1e-5)


def test_dead_module_raises_the_weight_to_its_cap_and_the_coefficient_stays_at_its_floor():
    golden = {key: GOLDENS[f"seq/repeat_inactive20/{key}"] for key in ("lambda_after", "alignment_weight")}
    spr = state(1e-15, 0.5)
    for coefficient, weight in zip(golden["lambda_after"], golden["alignment_weight"], strict=True):
        _, (_, spr) = regularise(statistics_of(OFF), spr, REFERENCE)
        assert_state(spr, coefficient, weight)


def test_busy_module_raises_the_coefficient_to_its_cap():
    golden = {key: GOLDENS[f"seq/repeat_active4/{key}"] for key in ("lambda_after", "alignment_weight")}
    spr = state(9.0, 9.0)
    for coefficient, weight in zip(golden["lambda_after"], golden["alignment_weight"], strict=True):
        _, (_, spr) = regularise(statistics_of(ON), spr, REFERENCE)
        assert_state(spr, coefficient, weight)


@pytest.mark.parametrize("module", ["self", "cross"])
def test_value_and_router_gradient_of_a_recorded_module(module: str):
    weight = jnp.asarray(GOLDENS[f"{module}/weights/self.router_alpha.router.weight"])
    bias = jnp.asarray(GOLDENS[f"{module}/weights/self.router_alpha.router.bias"])
    x = jnp.asarray(GOLDENS[f"{module}/x"])
    spr = state(GOLDENS[f"{module}/aux_lambda_before"], GOLDENS[f"{module}/aux_alignment_weight_before"])

    def auxiliary(weight: jax.Array, bias: jax.Array, x: jax.Array):
        return regularise(statistics_of(x @ weight.T + bias), spr, REFERENCE)

    differentiate = jax.jit(jax.value_and_grad(auxiliary, argnums=(0, 1, 2), has_aux=True))
    (loss, (_, after)), gradients = differentiate(weight, bias, x)
    np.testing.assert_allclose(loss, GOLDENS[f"{module}/aux_all_loss"], rtol=1e-5)
    assert_state(after, GOLDENS[f"{module}/aux_lambda_after"], GOLDENS[f"{module}/aux_alignment_weight"])
    for gradient, name in zip(gradients, ("self.router_alpha.router.weight", "self.router_alpha.router.bias", "x"), strict=True):
        expected = GOLDENS[f"{module}/grad_aux/{name}"]
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_each_module_has_its_own_state_and_losses_add_up():
    both, (both_parts, both_state) = regularise(statistics_of(ON, OFF), initial_spr_state(REFERENCE, 2), REFERENCE)
    single = [regularise(statistics_of(logits), initial_spr_state(REFERENCE, 1), REFERENCE) for logits in (ON, OFF)]
    np.testing.assert_allclose(both, single[0][0] + single[1][0], rtol=1e-6)
    np.testing.assert_allclose(both_state.coefficient, np.concatenate([after.coefficient for _, (_, after) in single]), rtol=1e-6)
    np.testing.assert_allclose(both_state.hae_weight, np.concatenate([after.hae_weight for _, (_, after) in single]), rtol=1e-6)
    assert sorted(both_parts) == ["hae_loss", "spr_loss"]


def test_modules_are_stacked_in_the_order_asked_for():
    routing = {"10.self": Routing(ON, ON), "9.self": Routing(OFF, 0 * ON)}
    assert routing_statistics(routing, ["9.self", "10.self"], SLOPE).active_rate.tolist() == [0.0, 1.0]


def test_weight_scales_spr_alone():
    doubled = dataclasses.replace(REFERENCE, spr_weight=2.0)
    spr, statistics = state(0.3, 0.5), statistics_of(ON, OFF)
    _, (plain, _) = regularise(statistics, spr, REFERENCE)
    _, (scaled, _) = regularise(statistics, spr, doubled)
    np.testing.assert_allclose(scaled["spr_loss"], 2 * plain["spr_loss"], rtol=1e-6)
    assert scaled["hae_loss"] == plain["hae_loss"] > 0


def test_model_without_routed_modules_has_no_regularisation():
    loss, (_, spr) = regularise(statistics_of(), initial_spr_state(REFERENCE, 0), REFERENCE)
    assert loss == 0
    assert all(leaf.size for leaf in spr)  # a checkpoint holds no empty arrays
