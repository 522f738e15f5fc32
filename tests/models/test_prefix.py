"""What all questions of a video have in common is computed once, and nothing else changes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.models.config import TINY
from pvchat_jax.models.pvchat import PVChat, build_pvchat, init_boxed
from pvchat_jax.objectives.language_modelling import mean_loss, token_sums
from tests.random_params import random_params

VIDEOS, QUESTIONS, LENGTH, PREFIX, POSITIONS = 2, 3, 29, 24, 3


@pytest.fixture(scope="module")
def params() -> dict:
    return random_params(lambda key: {"params": init_boxed(build_pvchat(TINY), TINY, key)}, jax.random.key(0))


def batch() -> dict[str, np.ndarray]:
    """Rows that begin alike and end in paddings of different lengths."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, TINY.language_model.vocab_size, (VIDEOS, QUESTIONS, LENGTH))
    ids[:, :, :PREFIX] = ids[:, :1, :PREFIX]
    lengths = rng.integers(PREFIX + 3, LENGTH + 1, (VIDEOS, QUESTIONS, 1))
    visual = np.zeros(LENGTH, bool)
    visual[2 : 2 + TINY.qformer.num_visual_tokens] = True
    return {
        "input_ids": ids,
        "attention_mask": np.arange(LENGTH) < lengths,
        "video_mask": np.broadcast_to(visual, ids.shape),
        "features": rng.normal(size=(VIDEOS, 1, 9, TINY.vision.width)).astype(np.float32),
        "positions": np.maximum(lengths - np.arange(1, POSITIONS + 1), PREFIX),
    }


@functools.partial(jax.jit, static_argnums=0)
def logits_and_loss_with_gradients(model: PVChat, params: dict) -> tuple[jax.Array, jax.Array, dict]:
    rows = batch()
    text = [rows[name] for name in ("input_ids", "attention_mask", "video_mask")]

    def loss(params: dict) -> tuple[jax.Array, jax.Array]:
        logits = model.apply({"params": params}, None, *text, features=rows["features"], positions=rows["positions"]).logits
        return mean_loss(token_sums(logits, jnp.asarray(rows["positions"]))), logits

    (value, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return logits, value, gradients


def test_logits_loss_and_gradients_are_those_of_separate_rows(params: dict) -> None:
    whole_logits, whole_loss, whole_gradients = logits_and_loss_with_gradients(build_pvchat(TINY), params)
    logits, loss, gradients = logits_and_loss_with_gradients(build_pvchat(TINY, prefix_length=PREFIX), params)
    np.testing.assert_allclose(logits, whole_logits, rtol=0, atol=1e-5 * np.abs(whole_logits).max())
    np.testing.assert_allclose(loss, whole_loss, rtol=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(whole_gradients))
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(whole_gradients), strict=True):
        floor = 1e-2 * largest  # gradients of key biases are truly 0
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(np.abs(other).max(), floor))


def test_without_positions_logits_are_of_all_that_follows_the_prefix(params: dict) -> None:
    rows = batch()
    text = [rows[name] for name in ("input_ids", "attention_mask", "video_mask")]
    whole, after = (
        build_pvchat(TINY, prefix_length=length).apply({"params": params}, None, *text, features=rows["features"]).logits
        for length in (0, PREFIX)
    )
    assert after.shape[2] == LENGTH - PREFIX
    seen = rows["attention_mask"][:, :, PREFIX:]
    np.testing.assert_allclose(after[seen], whole[:, :, PREFIX:][seen], atol=1e-5 * np.abs(whole).max())
