"""Scaled dot-product attention through one function that chooses the backend.

| backend  | where                | what                                             |
| -------- | -------------------- | ------------------------------------------------ |
| `xla`    | anywhere             | `jax.nn.dot_product_attention`, compiled by XLA   |
| `cudnn`  | NVIDIA, 16-bit dtype | the same function with cuDNN's fused kernel       |
| `splash` | TPU                  | the Pallas splash kernel that ships with jax      |
| `auto`   |                      | `cudnn` on NVIDIA in 16 bits, else `xla`          |

On TPU `auto` stays with XLA: it fits memory at the 8B sizes, shards without a `shard_map`, and the
splash kernel needs padded heads; `model.attention_backend="splash"` asks for the kernel.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

_LANES = 128  # TPU vector width: splash wants head_dim and sequence blocks in multiples of it


def resolve_backend(backend: str, dtype: jnp.dtype) -> str:
    """The backend that `auto` stands for on the default platform; others are returned unchanged."""
    if backend != "auto":
        return backend
    on_nvidia = jax.default_backend() == "gpu" and "cuda" in getattr(jax.devices()[0].client, "platform_version", "").lower()
    return "cudnn" if on_nvidia and jnp.dtype(dtype).itemsize == 2 else "xla"


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    key_mask: jax.Array | None = None,
    is_causal: bool = False,
    sliding_window: int | None = None,
    backend: str = "auto",
) -> jax.Array:
    """Softmax attention per head, scores scaled by `head_dim ** -0.5`.

    Args:
      query: float[B, T, N, D].
      key: float[B, S, K, D] with N divisible by K (grouped queries).
      value: float[B, S, K, D].
      key_mask: bool[B, S], False for keys that nobody may attend to.
      is_causal: query t sees keys 0..t.
      sliding_window: a causal query sees its last `sliding_window` keys only, itself included.
      backend: see the table above.

    Returns:
      float[B, T, N, D], not yet joined over heads.
    """
    backend = resolve_backend(backend, query.dtype)
    if backend == "splash":
        return _splash_attention(query, key, value, key_mask, is_causal, sliding_window)
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=None if key_mask is None else key_mask[:, None, None, :],
        is_causal=is_causal,
        local_window_size=None if sliding_window is None else (sliding_window - 1, 0),
        implementation=backend,
    )


def attention_after_prefix(
    query: jax.Array, key: jax.Array, value: jax.Array, row_mask: jax.Array, *, sliding_window: int | None = None, backend: str = "auto"
) -> jax.Array:
    """Causal attention of a prefix of P tokens and of K rows of S tokens that each continue it and do not see one another.

    It equals attention of K sequences of P + S tokens that all begin with the prefix, for which the prefix is computed once.

    Args:
      query: float[B, P + K * S, N, D], the prefix and then row after row; P may be 0. key, value: likewise.
      row_mask: bool[B, K, S], False for keys of the rows that nobody may attend to.
      sliding_window: a query sees its last `sliding_window` keys only, itself included.
      backend: of `dot_product_attention`, for the prefix.

    Returns:
      float[B, P + K * S, N, D].
    """
    batch, rows, length = row_mask.shape
    prefix = query.shape[1] - rows * length
    causal = functools.partial(dot_product_attention, is_causal=True, sliding_window=sliding_window, backend=backend)

    def of_rows(x: jax.Array) -> jax.Array:
        return x[:, prefix:].reshape(batch * rows, length, *x.shape[2:])  # [B * K, S, N, D]

    def of_prefix_and_rows(x: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.repeat(x[:, :prefix], rows, axis=0), of_rows(x)], axis=1)  # [B * K, P + S, N, D]

    if prefix == 0:
        outputs = causal(of_rows(query), of_rows(key), of_rows(value), key_mask=row_mask.reshape(-1, length))
        return outputs.reshape(query.shape)
    before = causal(query[:, :prefix], key[:, :prefix], value[:, :prefix])
    distance = prefix + np.arange(length)[:, None] - np.arange(prefix + length)[None]  # [S, P + S] from key to query
    near = (distance >= 0) & (distance < (sliding_window or prefix + length))
    key_mask = jnp.pad(row_mask.reshape(-1, length), ((0, 0), (prefix, 0)), constant_values=True)
    # Always XLA. cuDNN would take this mask as a bias alone, and only for even lengths; splash wants the prefix once for each row and
    # head. At 8B with 25 rows of 112 tokens after 336 that is 184 MB in a layer of a video, more than the scores here in float32
    # (161 MB, gone with the layer where it is recomputed), to speed up 1.5% of the layer's operations.
    after = jax.nn.dot_product_attention(
        of_rows(query), of_prefix_and_rows(key), of_prefix_and_rows(value), mask=near & key_mask[:, None, None, :], implementation="xla"
    )
    return jnp.concatenate([before, after.reshape(batch, rows * length, *query.shape[2:])], axis=1)


def attention_over_segments(query: jax.Array, segments: Sequence[tuple[jax.Array, jax.Array]], masks: Sequence[jax.Array]) -> jax.Array:
    """Attention over keys that lie in several arrays, without joining them or repeating those that rows share.

    Exact: each segment's part of the softmax is scaled by the largest score of all.

    Args:
      query: float[R, T, N, D].
      segments: keys and values float[R', S, G, D] of each segment; R' divides R, and R / R' rows in turn share one. N is divisible by G.
      masks: bool[R, T, S] of each segment, True where a query may attend to a key; every query to one at least.

    Returns:
      float[R, T, N, D].
    """
    num_rows, length, num_heads, width = query.shape

    def scores_of(key: jax.Array, mask: jax.Array) -> jax.Array:
        shared, size, groups, _ = key.shape
        grouped = query.reshape(shared, -1, groups, num_heads // groups, width)  # [R', R / R' * T, G, N / G, D]
        scores = jnp.einsum("rqghd,rsgd->rqghs", grouped, key, preferred_element_type=jnp.float32) * width**-0.5
        visible = mask.reshape(shared, -1, 1, 1, size)
        return jnp.where(visible, scores, jnp.finfo(jnp.float32).min)

    def of_rows(x: jax.Array) -> jax.Array:
        return x.reshape(num_rows, length, num_heads, -1)

    scores = [scores_of(key, mask) for (key, _), mask in zip(segments, masks, strict=True)]
    largest = functools.reduce(jnp.maximum, (of_rows(score.max(axis=-1)) for score in scores))  # [R, T, N, 1]
    total, outputs = 0.0, 0.0
    for score, (_, value) in zip(scores, segments, strict=True):
        weights = jnp.exp(score - largest.reshape(*score.shape[:-1], 1))
        total += of_rows(weights.sum(axis=-1))
        outputs += of_rows(jnp.einsum("rqghs,rsgd->rqghd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32))
    return (outputs / total).astype(query.dtype)


def attention_with_dropout(query: jax.Array, key: jax.Array, value: jax.Array, key_mask: jax.Array | None, keep: jax.Array) -> jax.Array:
    """Attention whose probabilities are multiplied by `keep: float[B, N, T, S]` (0, or 1 / (1 - rate)).

    Same arguments and result as `dot_product_attention`, without grouped queries. The kernels have no
    dropout of probabilities, which the Q-Former trains with.
    """
    scores = jnp.einsum("btnd,bsnd->bnts", query, key, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    if key_mask is not None:
        scores = jnp.where(key_mask[:, None, None, :], scores, jnp.finfo(jnp.float32).min)
    probabilities = jax.nn.softmax(scores, axis=-1) * keep
    return jnp.einsum("bnts,bsnd->btnd", probabilities.astype(value.dtype), value)


def _pad_axis(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    missing = -x.shape[axis] % multiple
    return jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)]) if missing else x


@functools.lru_cache(maxsize=32)
def _splash_mask(num_queries: int, num_keys: int, is_causal: bool, sliding_window: int | None) -> np.ndarray:
    rows, columns = np.arange(num_queries)[:, None], np.arange(num_keys)[None, :]
    mask = columns <= rows if is_causal else np.ones((num_queries, num_keys), bool)
    return mask if sliding_window is None else mask & (columns > rows - sliding_window)


def _splash_attention(query, key, value, key_mask, is_causal, sliding_window):  # shapes as in dot_product_attention
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    batch, num_queries, num_heads, head_dim = query.shape
    num_keys = key.shape[1]
    groups = num_heads // key.shape[2]
    query = query * head_dim**-0.5  # the kernel does not scale

    def heads_first(x: jax.Array) -> jax.Array:  # [B, T, N, D] -> [B, N, T', D'], both padded
        return _pad_axis(_pad_axis(x, 1, _LANES), 3, _LANES).transpose(0, 2, 1, 3)

    query, key, value = heads_first(query), heads_first(jnp.repeat(key, groups, 2)), heads_first(jnp.repeat(value, groups, 2))
    mask = _splash_mask(query.shape[2], key.shape[2], is_causal, sliding_window)
    kernel = splash_attention_kernel.make_splash_mha(
        mask=splash_attention_mask.MultiHeadMask([splash_attention_mask.NumpyMask(mask)] * num_heads),
        head_shards=1,
        q_seq_shards=1,
        interpret=jax.default_backend() != "tpu",
    )
    # segment 0 holds the real keys and every query; padded and masked keys go to a segment nobody is in
    visible = jnp.ones((batch, num_keys), bool) if key_mask is None else key_mask
    key_segments = jnp.where(_pad_axis(visible, 1, _LANES), 0, 1).astype(jnp.int32)
    query_segments = jnp.zeros((batch, query.shape[2]), jnp.int32)
    segments = splash_attention_kernel.SegmentIds(query_segments, key_segments)
    outputs = jax.vmap(kernel)(query, key, value, segment_ids=segments)  # [B, N, T', D']
    return outputs.transpose(0, 2, 1, 3)[:, :num_queries, :, :head_dim]
