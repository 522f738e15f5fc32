"""What PVChat asks of its two backbones, so that another backbone is one file.

A backbone is a Linen module with these methods; `build_pvchat` in models/pvchat.py is the one place
that constructs them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax


class VisionBackbone(Protocol):
    """Turns clips into tokens, in two halves: the upper one may train where the lower one, with the rest of the encoder, is frozen."""

    def lower(self, video: jax.Array) -> jax.Array:
        """`float[B, T, H, W, 3]` of normalised pixels `-> float[B, L, D]`, what `upper` takes."""
        ...

    def upper(self, x: jax.Array) -> jax.Array:
        """`float[B, L, D] -> float[B, L, D]`."""
        ...


class LanguageModel(Protocol):
    """A causal decoder that can be fed embeddings."""

    def embed(self, input_ids: jax.Array) -> jax.Array:
        """`int[R, S] -> float[R, S, H]`, ids of added tokens included."""
        ...

    def hidden_states(
        self,
        inputs_embeds: jax.Array,
        attention_mask: jax.Array,
        positions: jax.Array | None = None,
        *,
        prefix: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """What `head` takes: float[R, S, H] of R rows, or float[R, A, H] at chosen positions of them.

        Args:
          inputs_embeds: float[R, S, H]. attention_mask: bool[R, S]; padding is on the right.
          positions: int[R, A], counted from the start of `inputs_embeds`.
          prefix: float[B, P, H], what R / B rows in turn continue, for each of them as if it stood before the row.
        """
        ...

    def head(self, states: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """Logits `float[..., H] -> float32[..., V]`, each position's by itself; all at once they may be most of the memory."""
        ...

    def extend(
        self,
        inputs_embeds: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        past: Sequence[Any] = (),
        chosen: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Logits float32[R, T, V] after new tokens, or [R, A, V] after chosen ones, and what later calls need of these tokens.

        It takes parameters of `unstack`.

        Args:
          inputs_embeds: float[R, T, H].
          positions: int[R, T], of the new tokens in their rows.
          mask: bool[R, T, T], which of the new tokens each may attend to, itself among them.
          past: segments of earlier tokens, as `pvchat_jax.models.mistral.Segment`, made of what earlier calls returned.
          chosen: int[R, A], counted from the start of `inputs_embeds`.
        """
        ...

    def unstack(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as `extend` takes them: a step of one token does little more than read weights, so they lie as it reads them."""
        ...
