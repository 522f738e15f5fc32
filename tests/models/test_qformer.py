"""Training loops over the Q-Former's layers of the same kinds; it is the Q-Former that evaluation has layer by layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.models.config import QFormerConfig, ReMoHConfig
from pvchat_jax.models.qformer import QFormer, layer_runs
from tests.random_params import random_params

CONFIG = QFormerConfig(
    width=24,
    num_layers=9,
    num_heads=4,
    mlp_width=32,
    vocab_size=16,
    max_text_length=8,
    num_query_tokens=5,
    num_extra_query_tokens=0,
    num_subject_tokens=0,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    drop_path=0.0,
    remoh=ReMoHConfig(start_layer=4, num_shared_heads=2),
)


def with_start(start_layer: int, cross_attention_every: int = 2, **fields: float) -> QFormerConfig:
    remoh = dataclasses.replace(CONFIG.remoh, start_layer=start_layer)
    return dataclasses.replace(CONFIG, remoh=remoh, cross_attention_every=cross_attention_every, **fields)


@pytest.mark.parametrize("start_layer", range(11))
@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_runs_hold_all_layers_in_order_and_repeat_their_kinds(start_layer, every):
    config = with_start(start_layer, every)
    runs = layer_runs(config)
    assert [first + member for run in runs for first in run for member in range(run.step)] == list(range(config.num_layers))
    kind = lambda layer: (config.is_routed(layer), config.has_cross_attention(layer))  # noqa: E731
    assert all(kind(run.start + member) == kind(first + member) for run in runs for first in run for member in range(run.step))


def test_the_8b_preset_compiles_four_layers_of_twelve():
    assert layer_runs(QFormerConfig()) == [range(0, 6, 2), range(6, 12, 2)]


def outcome_of(config: QFormerConfig, deterministic: bool):
    """Function of a seed: a sum over outputs and routing with them, and its gradient by all parameters, with an instruction."""
    keys = jax.random.split(jax.random.key(3), 4)
    model = QFormer(config, remat_policy="none" if deterministic else "full")
    queries, features = jax.random.normal(keys[0], (5, 24)), jax.random.normal(keys[1], (2, 7, 10))
    ids, mask = jax.random.randint(keys[2], (2, 3), 0, 16), jnp.array([[True, True, False], [True, True, True]])
    params = random_params(model.init, keys[3], queries, features, ids, mask)

    def loss(params, key):
        output = model.apply({"params": params}, queries, features, ids, mask, deterministic=deterministic, rngs={"dropout": key})
        weights = [jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape) for leaf in jax.tree.leaves(output)]
        return sum(jnp.sum(leaf * weight) for leaf, weight in zip(jax.tree.leaves(output), weights, strict=True)), output

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return lambda seed: compiled(params, jax.random.key(seed))


def test_the_loop_is_the_layers_one_after_another():
    config = with_start(0, num_layers=4)
    assert layer_runs(config) == [range(0, 4, 2)]
    looped, separate = (outcome_of(config, deterministic)(0) for deterministic in (False, True))
    assert jax.tree.structure(looped) == jax.tree.structure(separate)
    for mine, other in zip(jax.tree.leaves(looped), jax.tree.leaves(separate), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-4, atol=2e-5)


def test_dropout_of_the_loop_follows_from_the_key():
    outcome = outcome_of(with_start(9, 1, num_layers=2, drop_path=0.5, hidden_dropout=0.5), deterministic=False)
    (first, _), _ = outcome(0)
    (again, _), _ = outcome(0)
    (other, _), _ = outcome(1)
    assert first == again != other
