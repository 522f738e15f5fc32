"""Q-Former (docs/reference.md section 2): BERT layers whose query tokens read the vision features.

Upper layers are ReMoH-routed. Query rows and text rows share self-attention and have separate
feed-forward networks; text rows (an optional instruction) never see the vision features directly.
"""

from typing import Any, NamedTuple

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
    drop_path: jax.typing.ArrayLike
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
    drop_path: jax.typing.ArrayLike
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
    drop_path: jax.typing.ArrayLike
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
    the next hidden state and the layer's routing as `self` and `cross`. The index matters for nothing but what kind of layer it is.
    """

    config: QFormerConfig
    index: int
    num_queries: int
    drop_path: jax.typing.ArrayLike
    deterministic: bool
    backend: str
    dtype: Dtype

    @nn.compact
    def __call__(self, hidden: jax.Array, features: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, dict[str, Routing]]:
        config = self.config
        routed = config.is_routed(self.index)

        def attention(name: str) -> QFormerAttention:
            return QFormerAttention(config, routed, self.drop_path, self.deterministic, self.backend, self.dtype, name=name)

        def feed_forward(name: str) -> FeedForward:
            return FeedForward(config, self.drop_path, self.deterministic, self.dtype, name=name)

        routing = {}
        hidden, routing["self"] = attention("self_attention")(hidden, hidden, mask)
        queries, text = hidden[:, : self.num_queries], hidden[:, self.num_queries :]
        if config.has_cross_attention(self.index):
            queries, routing["cross"] = attention("cross_attention")(queries, features, None)
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


def layer_runs(config: QFormerConfig) -> list[range]:
    """All layers in order as runs in which each `cross_attention_every` layers are of the same kinds as those before them.

    The first layers of these groups are what a range steps over: `range(0, 6, 2)` are layers 0 to 5, two at a time.
    """
    group, boundary = config.cross_attention_every, min(config.remoh.start_layer, config.num_layers)
    runs = []
    for first, end in ((0, boundary), (boundary, config.num_layers)):
        aligned = min(-(-first // group) * group, end)
        rest = aligned + (end - aligned) // group * group
        alone = [range(layer, layer + 1) for layer in range(first, end) if not aligned <= layer < rest]
        runs += [*alone, range(aligned, rest, group)]
    return sorted((run for run in runs if run), key=lambda run: run.start)


class QFormer(nn.Module):
    """Reads `features: float[B, L, E]` with `query_tokens: float[Nq, Q]` and returns a `QFormerOutput`.

    Training goes through layers of the same kinds in a loop, which otherwise are most of what there is to compile for a TPU. Its
    parameters are those of separate layers. Evaluation has the layers one by one, so that what is between them can be looked at.

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
        for run in layer_runs(config):
            if deterministic or self.is_initializing() or len(run) == 1:
                for index in range(run.start, run.stop):
                    layer = self._layer(index, num_queries, deterministic, self._drop_path(index), name=f"layer_{index}")
                    hidden, own = layer(hidden, features, mask)
                    hidden = nn.with_logical_constraint(hidden, ("batch", "length", "embed_activation"))
                    routing |= _named(own, index)
            else:
                hidden, own = self._loop(run, num_queries, hidden, features, mask)
                routing |= own
        text_rows = hidden[:, num_queries:] if instruction_ids is not None else None
        return QFormerOutput(hidden[:, :num_queries], text_rows, routing)

    def _drop_path(self, index: int) -> float:
        return self.config.drop_path * index / max(self.config.num_layers - 1, 1)

    def _layer(self, index: int, num_queries: int, deterministic: bool, drop_path: jax.typing.ArrayLike, **module: Any) -> QFormerLayer:
        layer = remat(QFormerLayer, self.remat_policy)
        return layer(self.config, index, num_queries, drop_path, deterministic, self.backend, self.dtype, **module)

    def _loop(
        self, run: range, num_queries: int, hidden: jax.Array, features: jax.Array, mask: jax.Array | None
    ) -> tuple[jax.Array, dict[str, Routing]]:
        """The layers of `run` with dropout, `run.step` of them at each turn of a loop over their stacked parameters."""
        members = range(run.step)
        params = [_stack([self.variables["params"][f"layer_{first + member}"] for first in run]) for member in members]
        keys = jax.random.split(self.make_rng("dropout"), (len(run), run.step)) if self.has_rng("dropout") else None
        rates = jnp.array([[self._drop_path(first + member) for member in members] for first in run])

        def turn(hidden: jax.Array, xs: tuple[list, jax.Array, jax.Array]) -> tuple[jax.Array, list[dict[str, Routing]]]:
            params, keys, rates = xs
            routing = []
            for member in members:
                drop_path = rates[member] if self.config.drop_path else 0.0
                layer = self._layer(run.start + member, num_queries, False, drop_path, parent=None)
                rngs = {} if keys is None else {"dropout": keys[member]}
                hidden, own = layer.apply({"params": params[member]}, hidden, features, mask, rngs=rngs)
                hidden = nn.with_logical_constraint(hidden, ("batch", "length", "embed_activation"))
                routing.append(own)
            return hidden, routing

        hidden, stacked = jax.lax.scan(turn, hidden, (params, keys, rates))
        routing = {}
        for turned, first in enumerate(run):
            for member in members:
                routing |= _named(jax.tree.map(lambda x, turned=turned: x[turned], stacked[member]), first + member)
        return hidden, routing


def _named(routing: dict[str, Routing], index: int) -> dict[str, Routing]:
    return {f"{index}.{attention}": values for attention, values in routing.items()}


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
