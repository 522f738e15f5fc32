"""Q-Former (docs/reference.md section 2): BERT layers whose query tokens read the vision features.

Upper layers are ReMoH-routed. Query rows and text rows share self-attention and have separate
feed-forward networks; text rows (an optional instruction) never see the vision features directly.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.attention import attention_with_dropout, dot_product_attention
from pvchat_jax.models.config import QFormerConfig
from pvchat_jax.models.layers import TOKEN_INIT, Dense, Dropout, DropPath, Dtype, LayerNorm, gelu, remat
from pvchat_jax.models.remoh import HeadRouter, Routing, weigh_heads


class QFormerOutput(NamedTuple):
    """Hidden states of the query rows and of the text rows, and each ReMoH module's routing by name (`6.self`)."""

    queries: jax.Array
    text: jax.Array | None
    routing: dict[str, Routing]


class Residual(nn.Module):
    """`LayerNorm(drop_path(dropout(dense(x))) + residual)`, the end of every sub-layer."""

    config: QFormerConfig
    axes: tuple[str, str]
    drop_path: float
    deterministic: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, residual: jax.Array) -> jax.Array:
        x = Dense(self.config.width, self.axes, dtype=self.dtype, name="dense")(x)
        x = Dropout(self.config.hidden_dropout, self.deterministic)(x)
        x = DropPath(self.drop_path, self.deterministic)(x)
        return LayerNorm(self.config.layer_norm_eps, self.dtype, name="norm")(x + residual)


class QFormerAttention(nn.Module):
    """Multi-head attention with bias, routed if asked, closed by `Residual`.

    `__call__(x: float[B, T, Q], source: float[B, S, E], key_mask: bool[B, S] | None)` returns
    `float[B, T, Q]` and the routing (None where the layer is not routed).
    """

    config: QFormerConfig
    routed: bool
    drop_path: float
    deterministic: bool
    backend: str
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, source: jax.Array, key_mask: jax.Array | None) -> tuple[jax.Array, Routing | None]:
        context, routing = self._context(x, source, key_mask)
        residual = Residual(self.config, ("heads", "embed"), self.drop_path, self.deterministic, self.dtype, name="output")
        return residual(context, x), routing

    def _context(self, x: jax.Array, source: jax.Array, key_mask: jax.Array | None) -> tuple[jax.Array, Routing | None]:
        config = self.config

        def heads(name: str, inputs: jax.Array) -> jax.Array:
            projected = Dense(config.width, ("embed", "heads"), dtype=self.dtype, name=name)(inputs)
            return projected.reshape(*inputs.shape[:2], config.num_heads, -1)  # [B, T, N, Q/N]

        query, key, value = heads("query", x), heads("key", source), heads("value", source)
        if self.deterministic or config.attention_dropout == 0:
            outputs = dot_product_attention(query, key, value, key_mask=key_mask, backend=self.backend)
        else:
            shape = (x.shape[0], config.num_heads, x.shape[1], source.shape[1])
            keep = Dropout(config.attention_dropout, deterministic=False)(jnp.ones(shape, jnp.float32))
            outputs = attention_with_dropout(query, key, value, key_mask, keep)
        routing = None
        if self.routed:
            routing = HeadRouter(config.num_routed_heads, config.remoh.init, config.router_top_k, name="head_router")(x)
            outputs = weigh_heads(outputs, routing, config.remoh)
        return outputs.reshape(x.shape[0], x.shape[1], config.width), routing


class FeedForward(nn.Module):
    """Dense, exact GELU, `Residual`."""

    config: QFormerConfig
    drop_path: float
    deterministic: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = Dense(self.config.mlp_width, ("embed", "mlp"), dtype=self.dtype, name="intermediate")(x)
        residual = Residual(self.config, ("mlp", "embed"), self.drop_path, self.deterministic, self.dtype, name="output")
        return residual(gelu(hidden), x)


class QFormerLayer(nn.Module):
    """Self-attention over all rows, cross-attention of the query rows (some layers), feed-forward.

    `__call__(hidden: float[B, Nq + Lt, Q], features: float[B, L, E], mask: bool[B, Nq + Lt] | None)` returns
    the next hidden state and the layer's routing by module name.
    """

    config: QFormerConfig
    index: int
    num_queries: int
    deterministic: bool
    backend: str
    dtype: Dtype

    @nn.compact
    def __call__(self, hidden: jax.Array, features: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, dict[str, Routing]]:
        config = self.config
        drop_path = config.drop_path * self.index / max(config.num_layers - 1, 1)
        routed = config.is_routed(self.index)

        def attention(name: str) -> QFormerAttention:
            return QFormerAttention(config, routed, drop_path, self.deterministic, self.backend, self.dtype, name=name)

        def feed_forward(name: str) -> FeedForward:
            return FeedForward(config, drop_path, self.deterministic, self.dtype, name=name)

        routing = {}
        hidden, routing[f"{self.index}.self"] = attention("self_attention")(hidden, hidden, mask)
        queries, text = hidden[:, : self.num_queries], hidden[:, self.num_queries :]
        if config.has_cross_attention(self.index):
            queries, routing[f"{self.index}.cross"] = attention("cross_attention")(queries, features, None)
        rows = [feed_forward("query_ffn")(queries)]
        if text.shape[1]:
            rows.append(feed_forward("text_ffn")(text))
        return jnp.concatenate(rows, axis=1), routing if routed else {}


class TextEmbeddings(nn.Module):
    """Word plus absolute position embeddings of an instruction: `int[B, Lt] -> float[B, Lt, Q]`."""

    config: QFormerConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, input_ids: jax.Array) -> jax.Array:
        config = self.config

        def table(name: str, size: int) -> jax.Array:
            init = nn.with_logical_partitioning(TOKEN_INIT, (None, "embed"))
            return self.param(name, init, (size, config.width), jnp.float32).astype(self.dtype)

        return table("word", config.vocab_size)[input_ids] + table("position", config.max_text_length)[None, : input_ids.shape[1]]


class QFormer(nn.Module):
    """Reads `features: float[B, L, E]` with `query_tokens: float[Nq, Q]` and returns a `QFormerOutput`.

    Args of `__call__`:
      instruction_ids: int[B, Lt] or None; instruction_mask: bool[B, Lt]. Positions count from 0 whatever
        the padding, and padded rows are computed like the reference does.
    """

    config: QFormerConfig
    remat_policy: str = "full"
    backend: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        query_tokens: jax.Array,
        features: jax.Array,
        instruction_ids: jax.Array | None = None,
        instruction_mask: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> QFormerOutput:
        config = self.config
        batch, num_queries = features.shape[0], query_tokens.shape[0]
        hidden = jnp.broadcast_to(query_tokens.astype(self.dtype), (batch, *query_tokens.shape))
        mask = None
        if instruction_ids is not None:
            text = TextEmbeddings(config, self.dtype, name="embeddings")(instruction_ids)
            hidden = jnp.concatenate([hidden, text], axis=1)  # [B, Nq + Lt, Q]
            mask = jnp.concatenate([jnp.ones((batch, num_queries), bool), instruction_mask.astype(bool)], axis=1)
        hidden = LayerNorm(config.layer_norm_eps, self.dtype, name="embeddings_norm")(hidden)
        hidden = Dropout(config.hidden_dropout, deterministic)(hidden)
        routing: dict[str, Routing] = {}
        for index in range(config.num_layers):
            layer = remat(QFormerLayer, self.remat_policy)(
                config, index, num_queries, deterministic, self.backend, self.dtype, name=f"layer_{index}"
            )
            hidden, layer_routing = layer(hidden, features, mask)
            hidden = nn.with_logical_constraint(hidden, ("batch", "length", "embed_activation"))
            routing |= layer_routing
        text_rows = hidden[:, num_queries:] if instruction_ids is not None else None
        return QFormerOutput(hidden[:, :num_queries], text_rows, routing)
