"""Mistral decoder (arXiv 2310.06825) with LoRA and with embedding rows of its own for added tokens.

Added tokens (subject names) are parameters apart from the pretrained tables: the tables stay frozen and
evenly sharded, and the few new rows train. Ids from `config.vocab_size` on are added ones.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.attention import dot_product_attention
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
    """Causal grouped-query self-attention with rotary embeddings."""

    config: MistralConfig
    deterministic: bool
    backend: str
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, attention_mask: jax.Array) -> jax.Array:
        config = self.config
        project = functools.partial(_projection, config, deterministic=self.deterministic, dtype=self.dtype)

        def heads(target: str, count: int, axis: str) -> jax.Array:
            y = project(target)(count * config.head_dim, ("embed", axis))(x)
            return y.reshape(*x.shape[:2], count, config.head_dim)  # [R, S, N, D]

        query = heads("q_proj", config.num_heads, "heads")
        key, value = heads("k_proj", config.num_kv_heads, "kv_heads"), heads("v_proj", config.num_kv_heads, "kv_heads")
        angles = rotary_angles(jnp.arange(x.shape[1])[None], config.head_dim, config.rope_theta)
        outputs = dot_product_attention(
            apply_rotary(query, *angles),
            apply_rotary(key, *angles),
            value,
            key_mask=attention_mask,
            is_causal=True,
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
    def __call__(self, x: jax.Array, attention_mask: jax.Array) -> tuple[jax.Array, None]:
        epsilon = self.config.rms_norm_eps
        normed = RMSNorm(epsilon, self.dtype, name="input_layernorm")(x)
        x = x + MistralAttention(self.config, self.deterministic, self.backend, self.dtype, name="self_attn")(normed, attention_mask)
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
        self, inputs_embeds: jax.Array, attention_mask: jax.Array, positions: jax.Array | None = None, *, deterministic: bool = True
    ) -> jax.Array:
        """`float[R, S, H]`, `bool[R, S]` and maybe `int[R, P] -> float32[R, P or S, V]` with the added tokens' logits last."""
        config = self.config
        blocks = scan_blocks(MistralBlock, self.remat_policy, config.num_layers, num_broadcast=1)
        x, _ = blocks(config, deterministic, self.backend, self.dtype, name="layers")(
            inputs_embeds.astype(self.dtype), attention_mask.astype(bool)
        )
        if positions is not None:
            x = jnp.take_along_axis(x, positions[..., None], axis=1)  # [R, P, H]
        x = RMSNorm(config.rms_norm_eps, self.dtype, name="norm")(x)
        logits = _projection(config, "lm_head", deterministic, self.dtype)(config.vocab_size, ("embed", "vocab"))(x)
        if config.num_added_tokens:
            added = x @ self.added_head.astype(self.dtype)  # [R, P, A]
            logits = jnp.concatenate([logits, added], axis=-1)
        return logits.astype(jnp.float32)
