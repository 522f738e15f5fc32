"""Parameter trees of random numbers without compiling an initialiser, which would cost most of a test's time."""

from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np


def random_params(init: Callable[..., dict], *args, seed: int = 0) -> dict:
    """Random values at the shapes of `init(*args)["params"]`: norms near 1, everything else small."""
    shapes = nn.unbox(jax.eval_shape(init, *args)["params"])
    rng = np.random.default_rng(seed)

    def value(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        centre, spread = (1.0, 0.1) if path[-1].key == "scale" else (0.0, 0.1)
        return (centre + spread * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    return jax.tree.map_with_path(value, shapes)
