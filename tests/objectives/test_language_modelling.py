"""Cross-entropy over shifted, partly ignored labels."""

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.objectives.language_modelling import TokenSums, count_target_tokens, mean_loss, next_tokens, token_accuracy, token_sums

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
