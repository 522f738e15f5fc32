"""A small convolutional network that says what each pixel of a picture of drawn people shows."""

import flax.linen as nn
import jax
import jax.numpy as jnp

BLOCK = 4  # pixels; the network sees blocks of so many squared, and says something about each of their pixels
_WIDTHS = (48, 64, 96)  # at a quarter, an eighth and a sixteenth of the picture's resolution
_HIDDEN = 128


class PartSegmenter(nn.Module):
    """uint8[B, H, W, 3] with sides that are multiples of 16 -> logits float32[B, H, W, num_classes]."""

    num_classes: int

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        blocks = _to_blocks(pixels.astype(jnp.float32) / 127.5 - 1.0)  # [B, H / 4, W / 4, 48]
        levels = []
        features = blocks
        for level, width in enumerate(_WIDTHS):
            features = nn.gelu(nn.Conv(width, (3, 3), strides=2 if level else 1, name=f"down_{level}")(features))
            features = nn.gelu(nn.Conv(width, (3, 3), name=f"look_{level}")(features))
            levels.append(features)
        for level in reversed(range(len(_WIDTHS) - 1)):
            coarse = nn.Dense(_WIDTHS[level], name=f"coarse_{level}")(features)
            features = levels[level] + jnp.repeat(jnp.repeat(coarse, 2, axis=1), 2, axis=2)
            features = nn.gelu(nn.Conv(_WIDTHS[level], (3, 3), name=f"up_{level}")(features))
        # The pixels themselves once more, since edges between parts are finer than a block.
        hidden = nn.gelu(nn.Dense(_HIDDEN, name="hidden")(jnp.concatenate([features, blocks], axis=-1)))
        return _from_blocks(nn.Dense(BLOCK * BLOCK * self.num_classes, name="out")(hidden))


def _to_blocks(values: jax.Array) -> jax.Array:
    """float[B, H, W, C] -> float[B, H / 4, W / 4, 16 * C]."""
    batch, height, width, channels = values.shape
    values = values.reshape(batch, height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
    return values.swapaxes(2, 3).reshape(batch, height // BLOCK, width // BLOCK, BLOCK * BLOCK * channels)


def _from_blocks(values: jax.Array) -> jax.Array:
    """The inverse of `_to_blocks`."""
    batch, rows, columns, channels = values.shape
    values = values.reshape(batch, rows, columns, BLOCK, BLOCK, channels // BLOCK**2)
    return values.swapaxes(2, 3).reshape(batch, rows * BLOCK, columns * BLOCK, channels // BLOCK**2)
