"""What PVChat asks of its two backbones, so that another backbone is one file.

A backbone is a Linen module with these methods; `build_pvchat` in models/pvchat.py is the one place
that constructs them.
"""

from typing import Protocol

import jax


class VisionBackbone(Protocol):
    """Turns clips into tokens."""

    def __call__(self, video: jax.Array) -> jax.Array:
        """`float[B, T, H, W, 3]` of normalised pixels `-> float[B, L, D]`."""
        ...


class LanguageModel(Protocol):
    """A causal decoder that can be fed embeddings."""

    def embed(self, input_ids: jax.Array) -> jax.Array:
        """`int[R, S] -> float[R, S, H]`, ids of added tokens included."""
        ...

    def __call__(
        self, inputs_embeds: jax.Array, attention_mask: jax.Array, positions: jax.Array | None = None, *, deterministic: bool = True
    ) -> jax.Array:
        """`float[R, S, H]`, `bool[R, S] -> float32[R, S, V]` logits; positions count from 0, padding is on the right.

        With `positions: int[R, P]` only the logits of these, float32[R, P, V].
        """
        ...
