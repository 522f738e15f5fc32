"""The decoder against `transformers` on the same weights, and its adapters against the original's numbers."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.verification.tables import compare_heads
from pvchat_jax.models.config import LoRAConfig, MistralConfig
from pvchat_jax.models.int8 import quantise
from pvchat_jax.models.mistral import Mistral
from pvchat_jax.objectives import language_modelling
from pvchat_jax.objectives.language_modelling import mean_loss, token_sums_of_states
from tests import golden_sets
from tests.golden_sets import assert_agree, assert_close
from tests.models.mistral_pair import hugging_face, our_params
from tests.random_params import random_params

CONFIG = MistralConfig(
    vocab_size=50,
    num_added_tokens=0,
    width=32,
    mlp_width=56,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    lora=LoRAConfig(rank=0),
)


def _logits(config: MistralConfig, params: dict, ids: np.ndarray, mask: np.ndarray, dtype=jnp.float32) -> jax.Array:
    model = Mistral(config, "none", dtype=dtype)

    @jax.jit
    def run(params: dict) -> jax.Array:
        bound = model.bind({"params": params})
        return bound(bound.embed(ids), mask)

    return run(params)


def _random_params(config: MistralConfig) -> dict:
    return random_params(Mistral(config, "none").init, jax.random.key(0), jnp.zeros((1, 2, config.width)), jnp.ones((1, 2), bool))


@pytest.mark.parametrize("sliding_window", [None, 4])
def test_equals_transformers(sliding_window: int | None) -> None:
    import torch

    config = dataclasses.replace(CONFIG, sliding_window=sliding_window)
    theirs = hugging_face(config)
    ids = np.random.default_rng(0).integers(0, 50, (2, 11))
    mask = np.ones((2, 11), bool)
    mask[1, 8:] = False
    with torch.no_grad():
        expected = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask).long()).logits.numpy()
    ours = np.asarray(_logits(config, our_params(theirs.state_dict(), config), ids, mask))
    assert_close(ours[mask], expected[mask])


def test_padding_is_never_attended_to() -> None:
    params = _random_params(CONFIG)
    ids = np.arange(12).reshape(1, 12)
    mask = np.arange(12)[None] < 7
    changed = np.where(mask, ids, 33)
    np.testing.assert_array_equal(_logits(CONFIG, params, ids, mask)[:, :7], _logits(CONFIG, params, changed, mask)[:, :7])


def test_logits_at_chosen_positions_are_those_of_the_whole_row() -> None:
    config = dataclasses.replace(CONFIG, num_added_tokens=2)
    params = _random_params(config)
    ids, mask = np.arange(24).reshape(2, 12), np.ones((2, 12), bool)
    positions = np.array([[3, 11, 0], [5, 5, 6]])
    model = Mistral(config, "none")
    embedded = model.apply({"params": params}, ids, method="embed")
    chosen = model.apply({"params": params}, embedded, mask, positions)
    whole = _logits(config, params, ids, mask)
    np.testing.assert_allclose(chosen, np.take_along_axis(np.asarray(whole), positions[..., None], axis=1), rtol=1e-5, atol=1e-6)


@pytest.fixture(params=golden_sets.NAMES)
def golden(request: pytest.FixtureRequest) -> golden_sets.GoldenSet:
    return golden_sets.load(request.param)


def test_head_with_its_adapter_and_without_after_the_vocabulary_grew(golden: golden_sets.GoldenSet) -> None:
    comparisons = list(compare_heads(golden))
    assert_agree(comparisons)
    after = "lmhead_lora/logits_after_resize_lm_head_lora_lost"
    assert [comparison.stage for comparison in comparisons] == ["lmhead_lora/logits", after]


def test_added_rows_are_parameters_of_their_own() -> None:
    config = dataclasses.replace(CONFIG, num_added_tokens=2)
    model = Mistral(config, "none")
    params = _random_params(config)
    embedded = model.apply({"params": params}, np.array([[49, 50, 51]]), method="embed")
    np.testing.assert_array_equal(embedded[0], np.stack([params["embed_tokens"][49], *params["added_embedding"]]))
    gradient = jax.grad(lambda p: _logits(config, p, np.array([[3, 51]]), np.ones((1, 2), bool))[..., -1].sum())(params)
    assert np.abs(gradient["added_embedding"][1]).max() > 0 and np.abs(gradient["added_embedding"][0]).max() == 0
    assert np.abs(gradient["added_head"][:, 1]).max() > 0 and np.abs(gradient["added_head"][:, 0]).max() == 0


@pytest.mark.parametrize("store", [jnp.asarray, quantise])
def test_head_is_learnt_from_logits_in_chunks(store: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapter, added tokens and a kernel that may be int8 do in a loop what they do at once."""
    config = dataclasses.replace(CONFIG, num_added_tokens=2, lora=LoRAConfig(rank=4, dropout=0.0))
    model, params = Mistral(config, "none"), _random_params(config)
    frozen = store(params["lm_head"]["kernel"])
    trained = {"added_head": params["added_head"], "lora_a": params["lm_head"]["lora_a"], "lora_b": params["lm_head"]["lora_b"]}
    rng = np.random.default_rng(2)
    states = rng.normal(size=(2, 3, 5, config.width)).astype(np.float32)
    targets = rng.integers(0, config.total_vocab_size, (2, 3, 5)).astype(np.int32)

    def loss(trained: dict, states: jax.Array) -> jax.Array:
        adapter = {name: value for name, value in trained.items() if name != "added_head"}
        whole = params | {"added_head": trained["added_head"], "lm_head": adapter | {"kernel": frozen}}
        logits_of = lambda states, _: model.apply({"params": whole}, states, method="head")  # noqa: E731
        return mean_loss(token_sums_of_states(logits_of, states, targets))

    expected = jax.jit(jax.value_and_grad(loss, (0, 1)))(trained, states)
    monkeypatch.setattr(language_modelling, "MOST_LOGITS", 4 * config.total_vocab_size)
    found = jax.jit(jax.value_and_grad(lambda *inputs: loss(*inputs), (0, 1)))(trained, states)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max()), found, expected)


def test_bfloat16_base_with_float32_adapters_stays_close() -> None:
    config = dataclasses.replace(CONFIG, lora=LoRAConfig(rank=4, dropout=0.0))
    ids, mask = np.arange(16).reshape(2, 8), np.ones((2, 8), bool)
    params = _random_params(config)
    exact = _logits(config, params, ids, mask)
    frozen_low = jax.tree.map_with_path(lambda path, x: x if "lora" in path[-1].key else x.astype(jnp.bfloat16), params)
    logits = _logits(config, frozen_low, ids, mask, jnp.bfloat16)
    assert logits.dtype == jnp.float32
    assert_close(logits, np.asarray(exact), 0.05)
