"""Interpolation as weight matrices, shared by image resizing and position-table resampling.

Both follow the half-pixel convention without antialiasing (PyTorch's `align_corners=False`). Plain
numpy: the sizes are static, so under `jax.jit` the matrices are constants.
"""

import functools

import numpy as np

_CUBIC_A = -0.75  # PyTorch's coefficient; OpenCV's agrees, Pillow's is -0.5


def _source_positions(source: int, target: int) -> np.ndarray:
    # as the reference: the scale is float32, what follows is float64
    scale = np.float32(source) / np.float32(target)
    return (np.arange(target) + 0.5) * np.float64(scale) - 0.5


def _cubic_kernel(distance: np.ndarray) -> np.ndarray:
    a = np.float32(_CUBIC_A)
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far).astype(np.float32)


def _gather_matrix(indices: np.ndarray, weights: np.ndarray, source: int) -> np.ndarray:
    """Sums `weights[t, k]` at column `indices[t, k]`, clamped to the border."""
    target = indices.shape[0]
    matrix = np.zeros((target, source), np.float32)
    rows = np.broadcast_to(np.arange(target)[:, None], indices.shape)
    np.add.at(matrix, (rows, np.clip(indices, 0, source - 1)), weights)
    matrix.setflags(write=False)  # cached and shared
    return matrix


@functools.lru_cache(maxsize=256)
def bicubic_matrix(source: int, target: int) -> np.ndarray:
    """Weights `float32[target, source]` of bicubic interpolation (a = -0.75, borders repeated)."""
    positions = _source_positions(source, target)
    base = np.floor(positions)
    fraction = (positions - base)[:, None]
    offsets = np.arange(-1, 3, dtype=np.float32)
    indices = base.astype(np.int64)[:, None] + offsets.astype(np.int64)
    return _gather_matrix(indices, _cubic_kernel(np.abs(fraction - offsets)), source)


@functools.lru_cache(maxsize=256)
def linear_matrix(source: int, target: int) -> np.ndarray:
    """Weights `float32[target, source]` of linear interpolation (positions below 0 are clamped to 0)."""
    positions = np.maximum(_source_positions(source, target), 0)
    base = np.floor(positions)
    fraction = positions - base
    indices = base.astype(np.int64)[:, None] + np.arange(2)
    return _gather_matrix(indices, np.stack([1 - fraction, fraction], axis=1), source)
