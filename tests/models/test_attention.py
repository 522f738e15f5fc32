"""Every attention backend that can run here computes the same numbers."""

import jax
import numpy as np
import pytest

from pvchat_jax.models.attention import attention_after_prefix, attention_with_dropout, dot_product_attention, resolve_backend


def _inputs(num_kv_heads: int = 4) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    query = rng.normal(size=(2, 9, 4, 24)).astype(np.float32)
    key, value = rng.normal(size=(2, 2, 9, num_kv_heads, 24)).astype(np.float32)
    mask = np.ones((2, 9), bool)
    mask[1, 6:] = False
    return query, key, value, mask


def _plain(query, key, value, mask, is_causal, window) -> np.ndarray:
    groups = query.shape[2] // key.shape[2]
    key, value = np.repeat(key, groups, 2), np.repeat(value, groups, 2)
    scores = np.einsum("btnd,bsnd->bnts", query, key) / np.sqrt(query.shape[-1])
    rows, columns = np.arange(9)[:, None], np.arange(9)[None]
    visible = np.broadcast_to(mask[:, None, None], scores.shape)
    if is_causal:
        visible = visible & (columns <= rows)
    if window:
        visible = visible & (columns > rows - window)
    weights = np.where(visible, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    return np.einsum("bnts,bsnd->btnd", weights / weights.sum(-1, keepdims=True), value)


@pytest.mark.parametrize("backend", ["xla", "splash"])
@pytest.mark.parametrize(("num_kv_heads", "is_causal", "window"), [(4, False, None), (2, True, None), (2, True, 4)])
def test_backends_agree_with_the_definition(backend: str, num_kv_heads: int, is_causal: bool, window: int | None) -> None:
    query, key, value, mask = _inputs(num_kv_heads)
    outputs = dot_product_attention(query, key, value, key_mask=mask, is_causal=is_causal, sliding_window=window, backend=backend)
    rows = mask if window else np.ones_like(mask)  # a padded query with a window may see no key at all
    np.testing.assert_allclose(np.asarray(outputs)[rows], _plain(query, key, value, mask, is_causal, window)[rows], atol=2e-6)


@pytest.mark.parametrize("window", [None, 4, 7])
@pytest.mark.parametrize("prefix", [0, 5])
def test_rows_after_a_common_prefix_are_sequences_of_their_own(prefix: int, window: int | None) -> None:
    rng = np.random.default_rng(0)
    batch, rows, length = 2, 3, 4
    query, key, value = (rng.normal(size=(batch, prefix + rows * length, heads, 8)).astype(np.float32) for heads in (4, 2, 2))
    mask = np.ones((batch, rows, length), bool)
    mask[1, 2, 2:] = False
    outputs = np.asarray(attention_after_prefix(query, key, value, mask, sliding_window=window))

    def sequence(x: np.ndarray, row: int) -> np.ndarray:
        start = prefix + row * length
        return np.concatenate([x[:, :prefix], x[:, start : start + length]], axis=1)

    for row in range(rows):
        alone = dot_product_attention(
            *(sequence(x, row) for x in (query, key, value)),
            key_mask=np.concatenate([np.ones((batch, prefix), bool), mask[:, row]], axis=1),
            is_causal=True,
            sliding_window=window,
        )
        seen = np.concatenate([np.ones((batch, prefix), bool), mask[:, row]], axis=1)
        np.testing.assert_allclose(sequence(outputs, row)[seen], np.asarray(alone)[seen], atol=2e-6)


def test_dropout_path_without_dropout() -> None:
    query, key, value, mask = _inputs()
    outputs = attention_with_dropout(query, key, value, mask, np.ones((2, 4, 9, 9), np.float32))
    np.testing.assert_allclose(outputs, dot_product_attention(query, key, value, key_mask=mask, backend="xla"), atol=1e-6)


def test_dropout_removes_keys() -> None:
    query, key, value, mask = _inputs()
    keep = np.ones((2, 4, 9, 9), np.float32)
    keep[..., 3] = 0
    value_elsewhere = value.copy()
    value_elsewhere[:, 3] = 100.0
    without = attention_with_dropout(query, key, value, mask, keep)
    np.testing.assert_array_equal(without, attention_with_dropout(query, key, value_elsewhere, mask, keep))


def test_auto_is_xla_on_cpu() -> None:
    assert jax.default_backend() == "cpu"
    assert resolve_backend("auto", np.dtype("float32")) == "xla"
    assert resolve_backend("splash", np.dtype("float32")) == "splash"
