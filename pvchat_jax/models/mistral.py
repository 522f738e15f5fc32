"""Mistral decoder (arXiv 2310.06825) with LoRA and with embedding rows of its own for added tokens.

Added tokens (subject names) are parameters apart from the pretrained tables: the tables stay frozen and
evenly sharded, and the few new rows train. Ids from `config.vocab_size` on are added ones.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.attention import attention_after_prefix
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


class MistralAttention(nn.Module):
    """Causal grouped-query self-attention with rotary embeddings over a prefix and the rows that continue it."""

    config: MistralConfig
    deterministic: bool
    backend: str
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, row_mask: jax.Array) -> jax.Array:
        """`float[B, P + K * S, H]`, `bool[B, K, S] -> float[B, P + K * S, H]`."""
        config = self.config
        project = functools.partial(_projection, config, deterministic=self.deterministic, dtype=self.dtype)

        def heads(target: str, count: int, axis: str) -> jax.Array:
            y = project(target)(count * config.head_dim, ("embed", axis))(x)
            return y.reshape(*x.shape[:2], count, config.head_dim)  # [B, L, N, D]

        query = heads("q_proj", config.num_heads, "heads")
        key, value = heads("k_proj", config.num_kv_heads, "kv_heads"), heads("v_proj", config.num_kv_heads, "kv_heads")
        num_rows, length = row_mask.shape[1:]
        prefix = x.shape[1] - num_rows * length
        positions = jnp.concatenate([jnp.arange(prefix), jnp.tile(prefix + jnp.arange(length), num_rows)])
        angles = rotary_angles(positions[None], config.head_dim, config.rope_theta)
        outputs = attention_after_prefix(
            apply_rotary(query, *angles),
            apply_rotary(key, *angles),
            value,
            row_mask,
            sliding_window=config.sliding_window,
            backend=self.backend,
        )
        return project("o_proj")(config.width, ("heads", "embed"))(outputs.reshape(*x.shape[:2], -1))


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


class MistralBlock(nn.Module):
    """Pre-norm decoder block; a scan body, so it returns `(x, None)`."""

    config: MistralConfig
    deterministic: bool
    backend: str
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, row_mask: jax.Array) -> tuple[jax.Array, None]:
        epsilon = self.config.rms_norm_eps
        normed = RMSNorm(epsilon, self.dtype, name="input_layernorm")(x)
        x = x + MistralAttention(self.config, self.deterministic, self.backend, self.dtype, name="self_attn")(normed, row_mask)
        normed = RMSNorm(epsilon, self.dtype, name="post_attention_layernorm")(x)
        x = x + MistralMLP(self.config, self.deterministic, self.dtype, name="mlp")(normed)
        return nn.with_logical_constraint(x, ("batch", "length", "embed_activation")), None


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

    @nn.compact
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
        config = self.config
        shape = inputs_embeds.shape  # [R, S, H]
        prefix = jnp.zeros((shape[0], 0, shape[2]), inputs_embeds.dtype) if prefix is None else prefix
        batch, prefix_length = prefix.shape[:2]
        x = jnp.concatenate([prefix, inputs_embeds.reshape(batch, -1, shape[2])], axis=1).astype(self.dtype)  # [B, P + K * S, H]
        blocks = scan_blocks(MistralBlock, self.remat_policy, config.num_layers, num_broadcast=1)
        x, _ = blocks(config, deterministic, self.backend, self.dtype, name="layers")(
            x, attention_mask.astype(bool).reshape(batch, -1, shape[1])
        )
        x = x[:, prefix_length:].reshape(shape)
        if positions is not None:
            x = jnp.take_along_axis(x, positions[..., None], axis=1)  # [R, A, H]
        x = RMSNorm(config.rms_norm_eps, self.dtype, name="norm")(x)
        logits = _projection(config, "lm_head", deterministic, self.dtype)(config.vocab_size, ("embed", "vocab"))(x)
        if config.num_added_tokens:
            added = x @ self.added_head.astype(self.dtype)  # [R, A, added]
            logits = jnp.concatenate([logits, added], axis=-1)
        return logits.astype(jnp.float32)
