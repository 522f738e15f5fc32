"""Position information: sin-cos tables of the vision encoder, their resampling, rotary embeddings."""

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.resampling import bicubic_matrix, linear_matrix


def _sincos_1d(positions: np.ndarray, width: int) -> np.ndarray:
    """[sin | cos] features `float64[len(positions), width]` at frequencies 10000^(-i / (width / 2))."""
    frequencies = 10000.0 ** (-np.arange(width // 2, dtype=np.float64) / (width / 2))
    angles = positions.reshape(-1, 1) * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _sincos_grid(grid_size: int, width: int) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(grid_size), np.arange(grid_size), indexing="ij")
    # the column (width) coordinate comes first, as in the reference
    return np.concatenate([_sincos_1d(columns, width // 2), _sincos_1d(rows, width // 2)], axis=1)


def sincos_table(num_temporal: int, grid_size: int, width: int) -> np.ndarray:
    """3D sin-cos table `float32[1 + T * G * G, D]` for [cls | tokens in order t, row, column].

    The first quarter of the channels encodes time, the rest space; the cls row is zero. The table of single
    frames is the one with T = 1 (docs/reference.md 1.2).
    """
    temporal = np.repeat(_sincos_1d(np.arange(num_temporal), width // 4), grid_size**2, axis=0)
    spatial = np.tile(_sincos_grid(grid_size, width // 4 * 3), (num_temporal, 1))
    return np.concatenate([np.zeros((1, width)), np.concatenate([temporal, spatial], axis=1)]).astype(np.float32)


def resample_table(table: jax.Array, old: tuple[int, int], new: tuple[int, int]) -> jax.Array:
    """Fits a position table to another token count: first linear in time, then bicubic in space.

    Args:
      table: float[1, 1 + T * G * G, D], the first entry (cls) is kept as it is.
      old: (T, G) of the table.
      new: (T', G') wanted.

    Returns:
      float[1, 1 + T' * G' * G', D].
    """
    if old == new:
        return table
    (old_time, old_grid), (new_time, new_grid) = old, new
    cls, tokens = table[:, :1], table[:, 1:]
    dtype = tokens.dtype
    tokens = tokens.reshape(old_time, old_grid, old_grid, -1).astype(jnp.float32)
    if old_time != new_time:
        tokens = jnp.einsum("ut,thwd->uhwd", linear_matrix(old_time, new_time), tokens)
    if old_grid != new_grid:
        matrix = bicubic_matrix(old_grid, new_grid)
        tokens = jnp.einsum("ih,jw,thwd->tijd", matrix, matrix, tokens)
    tokens = tokens.reshape(1, new_time * new_grid**2, -1).astype(dtype)  # [1, T' * G' * G', D]
    return jnp.concatenate([cls, tokens], axis=1)


def rotary_angles(positions: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines `float32[..., S, head_dim / 2]` of rotary embeddings at integer `positions[..., S]`."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def apply_rotary(x: jax.Array, cosines: jax.Array, sines: jax.Array) -> jax.Array:
    """Rotates `float[B, S, N, D]`, pairing channel i with i + D / 2 (the half-split form of Hugging Face)."""
    cosines, sines = cosines[..., None, :], sines[..., None, :]  # a heads axis
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)
    return rotated.astype(x.dtype)
