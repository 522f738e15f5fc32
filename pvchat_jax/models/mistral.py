"""Mistral decoder (arXiv 2310.06825) with LoRA and with embedding rows of its own for added tokens.

Added tokens (subject names) are parameters apart from the pretrained tables: the tables stay frozen and
evenly sharded, and the few new rows train. Ids from `config.vocab_size` on are added ones.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.attention import attention_after_prefix, attention_over_segments
from pvchat_jax.models.config import MistralConfig
from pvchat_jax.models.layers import TOKEN_INIT, Dtype, RMSNorm, scan_blocks
from pvchat_jax.models.lora import LoRADense
from pvchat_jax.models.positions import apply_rotary, rotary_angles


def _projection(config: MistralConfig, target: str, deterministic: bool, dtype: Dtype):
    """`LoRADense` with this target's adapter; still wants features and axes."""
    lora = config.lora
    return functools.partial(
        LoRADense,
        rank=lora.rank_of(target),
        scale=lora.scale,
        dropout=lora.dropout,
        deterministic=deterministic,
        dtype=dtype,
        name=target,
    )


class KeyValues(NamedTuple):
    """What attention keeps of tokens, keys already rotated: `key`, `value: float[layers, R, S, G, D]`, or [R, S, G, D] of one layer."""

    key: jax.Array
    value: jax.Array


class Segment(NamedTuple):
    """Earlier tokens that rows continue, each kept once for all rows that share them.

    Attributes:
      keys: float[layers, R', S, G, D]; each of its R' rows is seen by R / R' of the R new rows in turn.
      positions: int[R', S], of each token in its row.
      mask: bool[R, T, S], which of them each new token may attend to; a sliding window narrows it further.
    """

    keys: KeyValues
    positions: jax.Array
    mask: jax.Array


# Queries [B, L, N, D], keys and values [B, L, G, D] to outputs [B, L, N, D].
_Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class MistralAttention(nn.Module):
    """Grouped-query self-attention with rotary embeddings."""

    config: MistralConfig
    deterministic: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array, attend: _Attend) -> tuple[jax.Array, KeyValues]:
        """`float[B, L, H]` at `int[B or 1, L]` `->` float[B, L, H], and the keys of these tokens; `attend` says who sees whom."""
        config = self.config
        project = functools.partial(_projection, config, deterministic=self.deterministic, dtype=self.dtype)

        def heads(target: str, count: int, axis: str) -> jax.Array:
            y = project(target)(count * config.head_dim, ("embed", axis))(x)
            return y.reshape(*x.shape[:2], count, config.head_dim)  # [B, L, N, D]

        query = heads("q_proj", config.num_heads, "heads")
        key, value = heads("k_proj", config.num_kv_heads, "kv_heads"), heads("v_proj", config.num_kv_heads, "kv_heads")
        angles = rotary_angles(positions, config.head_dim, config.rope_theta)
        key = apply_rotary(key, *angles)
        outputs = attend(apply_rotary(query, *angles), key, value)
        return project("o_proj")(config.width, ("heads", "embed"))(outputs.reshape(*x.shape[:2], -1)), KeyValues(key, value)


class MistralMLP(nn.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    config: MistralConfig
    deterministic: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config = self.config
        project = functools.partial(_projection, config, deterministic=self.deterministic, dtype=self.dtype)
        gate = project("gate_proj")(config.mlp_width, ("embed", "mlp"))(x)
        up = project("up_proj")(config.mlp_width, ("embed", "mlp"))(x)
        return project("down_proj")(config.width, ("mlp", "embed"))(nn.silu(gate) * up)


class _Block(nn.Module):
    """Pre-norm decoder block; what inherits it is a scan body and says what its tokens attend to."""

    config: MistralConfig
    deterministic: bool
    backend: str
    dtype: Dtype

    def transform(self, x: jax.Array, positions: jax.Array, attend: _Attend) -> tuple[jax.Array, KeyValues]:
        """As of `MistralAttention`."""
        epsilon = self.config.rms_norm_eps
        normed = RMSNorm(epsilon, self.dtype, name="input_layernorm")(x)
        attended, keys = MistralAttention(self.config, self.deterministic, self.dtype, name="self_attn")(normed, positions, attend)
        x = x + attended
        normed = RMSNorm(epsilon, self.dtype, name="post_attention_layernorm")(x)
        return x + MistralMLP(self.config, self.deterministic, self.dtype, name="mlp")(normed), keys


class MistralBlock(_Block):
    """A prefix and whole rows that continue it, as in training."""

    @nn.compact
    def __call__(self, x: jax.Array, row_mask: jax.Array) -> tuple[jax.Array, None]:
        """`float[B, P + K * S, H]`, `bool[B, K, S] -> float[B, P + K * S, H]`."""
        num_rows, length = row_mask.shape[1:]
        prefix = x.shape[1] - num_rows * length
        positions = jnp.concatenate([jnp.arange(prefix), jnp.tile(prefix + jnp.arange(length), num_rows)])
        attend = functools.partial(
            attention_after_prefix, row_mask=row_mask, sliding_window=self.config.sliding_window, backend=self.backend
        )
        x, _ = self.transform(x, positions[None], attend)
        return nn.with_logical_constraint(x, ("batch", "length", "embed_activation")), None


class ExtendingBlock(_Block):
    """New tokens after earlier ones whose keys are kept."""

    @nn.compact
    def __call__(
        self, x: jax.Array, past: tuple[KeyValues, ...], positions: jax.Array, masks: tuple[jax.Array, ...]
    ) -> tuple[jax.Array, KeyValues]:
        """`float[R, T, H]`, past of this layer, `int[R, T]`, masks of the past and of the new tokens `->` float[R, T, H] and their keys."""

        def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
            return attention_over_segments(query, [*past, KeyValues(key, value)], masks)

        return self.transform(x, positions, attend)


class ExtendingBlocks(_Block):
    """All blocks one after the other, with parameters that are not stacked: a scan would copy each block's at every step."""

    @nn.compact
    def __call__(
        self, x: jax.Array, past: tuple[KeyValues, ...], positions: jax.Array, masks: tuple[jax.Array, ...]
    ) -> tuple[jax.Array, KeyValues]:
        """As of `ExtendingBlock`, with a leading axis of layers in `past` and in the keys."""
        kept = []
        for index in range(self.config.num_layers):
            block = ExtendingBlock(self.config, self.deterministic, self.backend, self.dtype, name=str(index))
            x, keys = block(x, _of_layer(past, index), positions, masks)
            kept.append(keys)
        return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept)


class Mistral(nn.Module):
    """The decoder and its head; see `pvchat_jax.models.interfaces.LanguageModel` for the two calls."""

    config: MistralConfig
    remat_policy: str = "full"
    backend: str = "auto"
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        config = self.config
        row_init = nn.with_logical_partitioning(TOKEN_INIT, ("vocab", "embed"))
        self.embed_tokens = self.param("embed_tokens", row_init, (config.vocab_size, config.width), jnp.float32)
        if config.num_added_tokens:
            added_init = nn.with_logical_partitioning(TOKEN_INIT, (None, None))  # too small to be worth splitting
            self.added_embedding = self.param("added_embedding", added_init, (config.num_added_tokens, config.width), jnp.float32)
            self.added_head = self.param("added_head", added_init, (config.width, config.num_added_tokens), jnp.float32)

    def embed(self, input_ids: jax.Array) -> jax.Array:
        """`int[R, S] -> float[R, S, H]`."""
        config = self.config
        # the table may be bfloat16 and the new rows float32: look both up, then choose
        embeddings = self.embed_tokens[jnp.minimum(input_ids, config.vocab_size - 1)].astype(self.dtype)
        if config.num_added_tokens:
            rows = self.added_embedding[jnp.clip(input_ids - config.vocab_size, 0, config.num_added_tokens - 1)].astype(self.dtype)
            embeddings = jnp.where((input_ids >= config.vocab_size)[..., None], rows, embeddings)
        return embeddings

    def __call__(
        self,
        inputs_embeds: jax.Array,
        attention_mask: jax.Array,
        positions: jax.Array | None = None,
        *,
        prefix: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """Logits float32[R, A or S, V], those of the added tokens last; see `interfaces.LanguageModel` for the arguments."""
        shape = inputs_embeds.shape  # [R, S, H]
        prefix = jnp.zeros((shape[0], 0, shape[2]), inputs_embeds.dtype) if prefix is None else prefix
        batch, prefix_length = prefix.shape[:2]
        x = jnp.concatenate([prefix, inputs_embeds.reshape(batch, -1, shape[2])], axis=1).astype(self.dtype)  # [B, P + K * S, H]
        row_mask = attention_mask.astype(bool).reshape(batch, -1, shape[1])
        blocks = scan_blocks(MistralBlock, self.remat_policy, self.config.num_layers, num_broadcast=1)

        def rows_at_positions(x: jax.Array) -> jax.Array:
            return _take(x[:, prefix_length:].reshape(shape), positions)

        logits, _ = self._decode(blocks, x, (row_mask,), rows_at_positions, deterministic)
        return logits

    def extend(
        self,
        inputs_embeds: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        past: Sequence[Segment] = (),
        chosen: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValues]:
        """Logits after new tokens and the tokens' keys, with parameters of `unstack`; see `interfaces.LanguageModel`."""
        window = self.config.sliding_window

        def near(mask: jax.Array, key_positions: jax.Array) -> jax.Array:
            if window is None:
                return mask
            distance = positions[..., None] - jnp.repeat(key_positions, positions.shape[0] // key_positions.shape[0], axis=0)[:, None]
            return mask & (distance < window)

        masks = (*(near(segment.mask, segment.positions) for segment in past), near(mask, positions))
        keys = tuple(segment.keys for segment in past)
        inputs = (keys, positions, masks)
        return self._decode(ExtendingBlocks, inputs_embeds.astype(self.dtype), inputs, lambda x: _take(x, chosen), deterministic=True)

    @nn.nowrap
    def unstack(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters for `extend`, or a part of them: those of the blocks, which `__call__` scans, lie apart."""
        blocks = {str(index): _of_layer(params.get("layers", {}), index) for index in range(self.config.num_layers)}
        return {**{name: value for name, value in params.items() if name != "layers"}, "blocks": blocks}

    @nn.compact
    def _decode(
        self, blocks: type[nn.Module], x: jax.Array, inputs: tuple, choose: Callable[[jax.Array], jax.Array], deterministic: bool
    ) -> tuple[jax.Array, Any]:
        """Logits float32[R, A, V] of what `choose` takes of the last block's output, and what the blocks return besides."""
        config = self.config
        name = "blocks" if blocks is ExtendingBlocks else "layers"
        x, kept = blocks(config, deterministic, self.backend, self.dtype, name=name)(x, *inputs)
        x = RMSNorm(config.rms_norm_eps, self.dtype, name="norm")(choose(x))
        logits = _projection(config, "lm_head", deterministic, self.dtype)(config.vocab_size, ("embed", "vocab"))(x)
        if config.num_added_tokens:
            added = x @ self.added_head.astype(self.dtype)  # [R, A, added]
            logits = jnp.concatenate([logits, added], axis=-1)
        return logits.astype(jnp.float32), kept


def _take(x: jax.Array, positions: jax.Array | None) -> jax.Array:
    """`float[R, S, H] -> float[R, A, H]` at `int[R, A]`; None takes all."""
    return x if positions is None else jnp.take_along_axis(x, positions[..., None], axis=1)


def _of_layer(stacked: Any, index: int) -> Any:
    """One layer of arrays with a leading axis of layers."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)
