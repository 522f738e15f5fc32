"""InternVideo2 vision encoder (docs/reference.md section 1): tubelets, position tables, pre-norm blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.models.attention import dot_product_attention
from pvchat_jax.models.config import VisionConfig
from pvchat_jax.models.layers import TOKEN_INIT, Dense, Dtype, RMSNorm, gelu, scan_blocks
from pvchat_jax.models.positions import resample_table, sincos_table


def extract_tubelets(video: jax.Array, tubelet_size: int, patch_size: int) -> jax.Array:
    """`float[B, T, H, W, C] -> float[B, T / t * H / p * W / p, t * p * p * C]`, tokens in order time, row, column."""
    batch, time, height, width, channels = video.shape
    t, p = tubelet_size, patch_size
    video = video.reshape(batch, time // t, t, height // p, p, width // p, p, channels)
    video = video.transpose(0, 1, 3, 5, 2, 4, 6, 7)  # [B, T/t, H/p, W/p, t, p, p, C]
    return video.reshape(batch, -1, t * p * p * channels)


class VisionAttention(nn.Module):
    """Self-attention with a fused projection; q and k are RMS-normalised over all heads together."""

    num_heads: int
    epsilon: float
    backend: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        qkv = Dense(3 * width, ("embed", "heads"), use_bias=False, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.split(qkv, 3, axis=-1)
        query = RMSNorm(self.epsilon, self.dtype, name="q_norm")(query)
        key = RMSNorm(self.epsilon, self.dtype, name="k_norm")(key)
        split = lambda y: y.reshape(batch, length, self.num_heads, -1)  # noqa: E731  [B, L, N, D/N]
        outputs = dot_product_attention(split(query), split(key), split(value), backend=self.backend)
        return Dense(width, ("heads", "embed"), dtype=self.dtype, name="proj")(outputs.reshape(batch, length, width))


class VisionMLP(nn.Module):
    """Two layers with the exact (erf) GELU between them."""

    mlp_width: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = Dense(self.mlp_width, ("embed", "mlp"), dtype=self.dtype, name="fc1")(x)
        return Dense(x.shape[-1], ("mlp", "embed"), dtype=self.dtype, name="fc2")(gelu(hidden))


class VisionBlock(nn.Module):
    """Pre-norm block with LayerScale; a scan body, so it returns `(x, None)`."""

    config: VisionConfig
    backend: str = "auto"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, None]:
        config = self.config
        scale_init = nn.with_logical_partitioning(nn.initializers.constant(config.layer_scale_init), ("norm",))
        attention_scale = self.param("ls1", scale_init, (config.width,), jnp.float32).astype(self.dtype)
        mlp_scale = self.param("ls2", scale_init, (config.width,), jnp.float32).astype(self.dtype)
        normed = RMSNorm(config.rms_norm_eps, self.dtype, name="norm1")(x)
        attended = VisionAttention(config.num_heads, config.rms_norm_eps, self.backend, self.dtype, name="attn")(normed)
        x = x + attention_scale * attended
        normed = RMSNorm(config.rms_norm_eps, self.dtype, name="norm2")(x)
        x = x + mlp_scale * VisionMLP(config.mlp_width, self.dtype, name="mlp")(normed)
        return nn.with_logical_constraint(x, ("batch", "length", "embed_activation")), None


class VisionEncoder(nn.Module):
    """`float[B, T, H, W, 3] -> float[B, 1 + T/t * G * G, D]`: the raw output of the last built block, cls included.

    One frame uses the image position table, several the video table; either is resampled when the token
    count differs from the table's. The blocks are two scans, because stage 2 may train the upper half; `upper(lower(video))` is
    the whole, so that what a frozen lower half returns can be kept.
    """

    config: VisionConfig
    remat_policy: str = "full"
    backend: str = "auto"
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        config = self.config

        def table(name: str, values: np.ndarray) -> jax.Array:
            init = nn.with_logical_partitioning(lambda _, shape, dtype: jnp.asarray(values, dtype)[None], (None, "position", "embed"))
            return self.param(name, init, (1, *values.shape), jnp.float32)

        def blocks(length: int) -> nn.Module:
            return scan_blocks(VisionBlock, self.remat_policy, length, 0)(config, self.backend, self.dtype)

        self.patch_embed = Dense(config.width, ("patch", "embed"), dtype=self.dtype)
        cls_init = nn.with_logical_partitioning(TOKEN_INIT, (None, None, "embed"))
        self.cls_token = self.param("cls_token", cls_init, (1, 1, config.width), jnp.float32)
        self.pos_embed = table("pos_embed", sincos_table(config.num_temporal_positions, config.grid_size, config.width))
        if config.separate_image_position:
            self.img_pos_embed = table("img_pos_embed", sincos_table(1, config.grid_size, config.width))
        self.lower_blocks = blocks(config.num_lower_blocks)
        self.upper_blocks = blocks(config.num_blocks - config.num_lower_blocks)

    def __call__(self, video: jax.Array) -> jax.Array:
        return self.upper(self.lower(video))

    def lower(self, video: jax.Array) -> jax.Array:
        """`float[B, T, H, W, 3] -> float[B, L, D]`: everything up to the first block of the upper half."""
        config = self.config
        _, time, height, width, _ = video.shape
        if height != width or height % config.patch_size or time % config.tubelet_size:
            raise ValueError(
                f"video of {time} frames {height}x{width} cannot be cut into tubelets of {config.tubelet_size} frames "
                f"and square grids of {config.patch_size} px patches"
            )
        x = extract_tubelets(video, config.tubelet_size, config.patch_size)
        x = self.patch_embed(x)
        cls = jnp.broadcast_to(self.cls_token.astype(self.dtype), (x.shape[0], 1, config.width))
        x = jnp.concatenate([cls, x], axis=1)
        x += self._positions(time // config.tubelet_size, height // config.patch_size).astype(self.dtype)
        x = nn.with_logical_constraint(x, ("batch", "length", "embed_activation"))
        return self.lower_blocks(x)[0]

    def upper(self, x: jax.Array) -> jax.Array:
        """`float[B, L, D] -> float[B, L, D]`: the blocks of the upper half."""
        return self.upper_blocks(x)[0]

    def _positions(self, time: int, grid: int) -> jax.Array:
        """Position entries `float[1, 1 + time * grid * grid, D]` for this input."""
        config = self.config
        old = (config.num_temporal_positions, config.grid_size)
        if time > 1:
            return resample_table(self.pos_embed, old, (time, grid))
        if config.separate_image_position:
            image_table = self.img_pos_embed
        else:
            tokens = self.pos_embed[:, 1:].reshape(1, old[0], -1, config.width).mean(axis=1)  # over time
            image_table = jnp.concatenate([self.pos_embed[:, :1], tokens], axis=1)
        return resample_table(image_table, (1, config.grid_size), (1, grid))
