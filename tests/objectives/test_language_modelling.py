"""Cross-entropy over shifted, partly ignored labels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.objectives import language_modelling
from pvchat_jax.objectives.language_modelling import (
    TokenSums,
    count_target_tokens,
    mean_loss,
    next_tokens,
    token_accuracy,
    token_sums,
    token_sums_of_states,
)

LABELS = np.array([[[7, -100, 2, 0], [-100, -100, -100, 5]], [[-100, 1, 1, -100], [3, -100, -100, -100]]])  # [B, K, S]
LOGITS = np.random.default_rng(0).normal(size=(2, 2, 4, 8)).astype(np.float32)


@jax.jit
def sums_of(logits: jax.Array, labels: jax.Array) -> TokenSums:
    return token_sums(logits, next_tokens(labels))


@jax.jit
def loss_and_gradient(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(lambda logits: mean_loss(token_sums(logits, next_tokens(labels))))(logits)


def expected_losses() -> np.ndarray:
    """Loss of each supervised token by the definition, one at a time."""
    losses = []
    for b, k, s in np.argwhere(LABELS != -100):
        if s == 0:
            continue  # nothing comes before it to predict it from
        row = LOGITS[b, k, s - 1].astype(np.float64)
        losses.append(np.log(np.exp(row).sum()) - row[LABELS[b, k, s]])
    return np.array(losses)


def test_mean_over_supervised_tokens_predicted_from_the_position_before():
    sums = sums_of(LOGITS, LABELS)
    losses = expected_losses()
    assert sums.count == len(losses) == 5
    np.testing.assert_allclose(mean_loss(sums), losses.mean(), rtol=1e-6)


def test_sums_of_parts_add_up_to_the_whole():
    whole = sums_of(LOGITS, LABELS)
    parts = [sums_of(LOGITS[i], LABELS[i]) for i in range(2)]
    np.testing.assert_allclose(whole, np.sum(parts, axis=0), rtol=1e-6)
    assert count_target_tokens(LABELS) == whole.count


def test_accuracy_counts_supervised_tokens_alone():
    logits = np.zeros_like(LOGITS)
    logits[0, 0, 1, 2] = 1.0  # right
    logits[0, 0, 2, 4] = 1.0  # wrong, 0 was wanted
    logits[0, 1, 2, 5] = 1.0  # right
    logits[1, 0, 0, 1] = logits[1, 0, 1, 6] = 1.0  # right, wrong
    assert token_accuracy(sums_of(logits, LABELS)) == np.float32(3 / 5)


def test_ignored_positions_get_no_gradient():
    _, gradient = loss_and_gradient(LOGITS, LABELS)
    predicts = np.zeros(LABELS.shape, bool)
    predicts[..., :-1] = LABELS[..., 1:] != -100
    assert np.all((np.abs(np.asarray(gradient)).sum(-1) > 0) == predicts)


def test_no_target_tokens_is_zero_loss_and_zero_gradient():
    loss, gradient = loss_and_gradient(LOGITS, np.full_like(LABELS, -100))
    assert loss == 0
    assert not np.any(gradient)


def test_computed_in_float32_from_bfloat16_logits():
    rough = jnp.asarray(LOGITS, jnp.bfloat16)
    assert sums_of(rough, LABELS) == sums_of(rough.astype(jnp.float32), LABELS)


ROWS, POSITIONS, VOCABULARY, WIDTH = 3, 7, 50, 6  # 21 positions are no multiple of the chunks


def sums_of_states(weights: dict[str, jax.Array], states: jax.Array, targets: jax.Array) -> TokenSums:
    """With a head that has a frozen part."""

    def logits_of(states: jax.Array, chunk: jax.Array | None) -> jax.Array:
        del chunk
        return states @ jax.lax.stop_gradient(weights["frozen"]) + states @ weights["a"] @ weights["b"]

    return token_sums_of_states(logits_of, states, targets)


def head_case() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    shapes = {"frozen": (WIDTH, VOCABULARY), "a": (WIDTH, 2), "b": (2, VOCABULARY)}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    targets = random.integers(0, VOCABULARY, (2, ROWS, POSITIONS)).astype(np.int32)
    targets[random.random(targets.shape) < 0.3] = -100
    return weights, random.normal(size=(2, ROWS, POSITIONS, WIDTH)).astype(np.float32), targets


def sums_and_gradients(most_logits: int, monkeypatch: pytest.MonkeyPatch) -> tuple[TokenSums, tuple[Any, ...], list[int]]:
    """And the sizes of all arrays that are made on the way."""
    monkeypatch.setattr(language_modelling, "MOST_LOGITS", most_logits)

    def loss(*inputs: Any) -> tuple[jax.Array, TokenSums]:
        sums = sums_of_states(*inputs, targets)
        return mean_loss(sums), sums

    weights, states, targets = head_case()
    gradient = jax.grad(loss, (0, 1), has_aux=True)
    traced = jax.make_jaxpr(gradient)(weights, states)
    gradients, sums = jax.jit(gradient)(weights, states)
    return sums, gradients, sizes_within(traced.jaxpr)


def sizes_within(jaxpr: Any) -> list[int]:
    """Elements of every array that a program computes, in its loops as well."""
    sizes = [variable.aval.size for equation in jaxpr.eqns for variable in equation.outvars]
    for value in (value for equation in jaxpr.eqns for value in jax.tree.leaves(equation.params)):
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            sizes += sizes_within(inner)
    return sizes


@pytest.mark.parametrize("most_logits", [6 * VOCABULARY, 1])
def test_chunks_add_up_and_all_logits_never_exist(most_logits: int, monkeypatch: pytest.MonkeyPatch):
    all_logits = 2 * ROWS * POSITIONS * VOCABULARY
    whole_sums, whole_gradients, whole_sizes = sums_and_gradients(10**6, monkeypatch)
    sums, gradients, sizes = sums_and_gradients(most_logits, monkeypatch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), (sums, gradients), (whole_sums, whole_gradients))
    assert whole_sums.count > 10 and np.any(whole_gradients[0]["b"])
    assert max(whole_sizes) == all_logits
    assert max(sizes) < all_logits / 2


def test_what_fits_one_chunk_is_computed_without_a_loop():
    weights, states, targets = head_case()
    traced = str(jax.make_jaxpr(jax.grad(lambda *inputs: mean_loss(sums_of_states(*inputs, targets))))(weights, states))
    assert "scan" not in traced and "remat" not in traced and "checkpoint" not in traced
