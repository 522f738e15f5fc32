"""Learning rates per group and step, and the update against AdamW written out in numpy."""

import jax
import numpy as np
import optax
import pytest

from pvchat_jax.config.schema import TRAINABLE_GROUPS, OptimizerConfig
from pvchat_jax.training.optimizer import learning_rates_at, make_optimizer

NUM_STEPS = 4
PARAMS = {
    "subject_tokens": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "qformer": {"layer_0": {"bias": np.array([0.5, -2.0], np.float32)}},
    "language_model": {"lm_head": {"lora_a": np.full((2, 2), 0.3, np.float32)}},
}


def gradients_at(step: int) -> dict:
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda leaf: rng.normal(0, 2, leaf.shape).astype(np.float32), PARAMS)


def updated_by(config: OptimizerConfig) -> dict:
    """Parameters after `NUM_STEPS` updates."""
    optimizer = make_optimizer(config, NUM_STEPS)

    @jax.jit
    def update(params, opt_state, gradients):
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    params, opt_state = PARAMS, jax.jit(optimizer.init)(PARAMS)
    for step in range(NUM_STEPS):
        params, opt_state = update(params, opt_state, gradients_at(step))
    return params


def adamw(config: OptimizerConfig) -> dict:
    """The same by the definition of AdamW (torch's form), in float64."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.float64, PARAMS))
    groups = jax.tree.leaves({"subject_tokens": "subject_tokens", "qformer": "qformer", "language_model": "lora"})
    first, second = [np.zeros_like(leaf) for leaf in leaves], [np.zeros_like(leaf) for leaf in leaves]
    for step in range(NUM_STEPS):
        gradients = [np.float64(leaf) for leaf in jax.tree.leaves(gradients_at(step))]
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
        rates = learning_rates_at(config, NUM_STEPS, step)
        for i, gradient in enumerate(gradients):
            if config.clip_norm:
                gradient = gradient * min(1, config.clip_norm / norm)
            first[i] = config.beta1 * first[i] + (1 - config.beta1) * gradient
            second[i] = config.beta2 * second[i] + (1 - config.beta2) * gradient**2
            mean, variance = first[i] / (1 - config.beta1 ** (step + 1)), second[i] / (1 - config.beta2 ** (step + 1))
            decayed = leaves[i] * (1 - rates[groups[i]] * config.weight_decay)
            leaves[i] = decayed - rates[groups[i]] * mean / (np.sqrt(variance) + config.epsilon)
    return jax.tree.unflatten(structure, leaves)


@pytest.mark.parametrize(("clip_norm", "schedule", "warmup"), [(1.0, "cosine", 2), (0.0, "constant", 0)])
def test_update_is_adamw_per_group_after_clipping_over_all_groups(clip_norm: float, schedule: str, warmup: int):
    config = OptimizerConfig(
        **{"subject_tokens": 1e-2, "qformer": 1e-3, "lora": 3e-2},
        **{"clip_norm": clip_norm, "schedule": schedule, "warmup_steps": warmup},
        **{"epsilon": 0.1, "weight_decay": 0.1},  # large, so that both show
    )
    jax.tree.map(lambda actual, wanted: np.testing.assert_allclose(actual, wanted, rtol=1e-5), updated_by(config), adamw(config))


def test_warmup_moves_from_the_first_step_and_peaks_with_its_last():
    config = OptimizerConfig(warmup_steps=4, schedule="constant")
    rates = [learning_rates_at(config, 10, step)["lora"] for step in range(6)]
    np.testing.assert_allclose(rates, np.array([0.25, 0.5, 0.75, 1, 1, 1]) * config.lora, rtol=1e-6)


@pytest.mark.parametrize(("schedule", "halfway"), [("linear", 0.5), ("cosine", 0.5), ("constant", 1.0)])
def test_schedules_end_where_they_say(schedule: str, halfway: float):
    config = OptimizerConfig(warmup_steps=10, schedule=schedule)
    factors = [learning_rates_at(config, 110, step)["subject_tokens"] / config.subject_tokens for step in (10, 35, 60, 110)]
    quarter = {"linear": 0.75, "cosine": 0.5 * (1 + np.cos(np.pi / 4)), "constant": 1.0}[schedule]
    np.testing.assert_allclose(factors, [1, quarter, halfway, 1.0 if schedule == "constant" else 0.0], atol=1e-6)


def test_rates_of_all_groups_are_reported_and_frozen_ones_are_zero():
    config = OptimizerConfig(warmup_steps=0, schedule="constant")
    rates = learning_rates_at(config, 10, 3)
    assert tuple(rates) == TRAINABLE_GROUPS
    assert rates == pytest.approx(config.learning_rates)
    assert rates["base"] == 0


def test_parameter_of_a_frozen_group_is_refused():
    with pytest.raises(ValueError, match="base"):
        make_optimizer(OptimizerConfig(), NUM_STEPS).init({"query_tokens": np.zeros((2, 2), np.float32)})
