"""Keys and values of prompts and of generated tokens, and who may attend to them.

Three segments make a row: the video's prefix, which all rows of the video share; the row's prompt, which its beams share; and one slot
for each beam at each step. A beam search copies no keys: `ancestors` says which slot of each step a beam descends from.
"""

import jax
import jax.numpy as jnp

from pvchat_jax.models.mistral import KeyValues, Segment
from pvchat_jax.sharding import constrain_where_divisible


def lay_out(keys: KeyValues) -> KeyValues:
    """Keys float[layers, R, ..., G, D] on the devices of the mesh: rows over data, heads over tensor."""
    names = ("layers", "batch", *(None,) * (keys.key.ndim - 4), "kv_heads", None)
    return KeyValues(*(constrain_where_divisible(array, *names) for array in keys))


def allocate(like: KeyValues, num_beams: int, capacity: int) -> KeyValues:
    """Zeros float[layers, R, M, W, G, D] for the generated tokens of rows whose prompts have the keys `like`, [layers, R, S, G, D]."""

    def zeros(array: jax.Array) -> jax.Array:
        layers, rows, _, groups, width = array.shape
        return jnp.zeros((layers, rows, capacity, num_beams, groups, width), array.dtype)

    return lay_out(KeyValues(*map(zeros, like)))


def write(cache: KeyValues, new: KeyValues, slot: jax.Array) -> KeyValues:
    """Puts float[layers, R * W, 1, G, D], the keys of one token of each beam, into the slots `int32[R]` of their rows."""
    rows = jnp.arange(len(slot))

    def put(array: jax.Array, tokens: jax.Array) -> jax.Array:
        layers, num_rows, _, *rest = array.shape
        return array.at[:, rows, slot].set(tokens.reshape(layers, num_rows, *rest))

    return lay_out(KeyValues(*map(put, cache, new)))


def prefix_segment(keys: KeyValues, num_rows: int, num_tokens: int) -> Segment:
    """The prefix float[layers, B, P, G, D], all of which is visible to `num_rows` rows of `num_tokens` new tokens."""
    batch, length = keys.key.shape[1:3]
    positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
    return Segment(keys, positions, jnp.ones((num_rows, num_tokens, length), bool))


def prompt_segment(keys: KeyValues, start: int, lengths: jax.Array, num_beams: int) -> Segment:
    """Prompts float[layers, R, S, G, D] that begin at position `start`, visible to one new token of each of their beams."""
    num_rows, length = keys.key.shape[1:3]
    positions = jnp.broadcast_to(start + jnp.arange(length), (num_rows, length))
    mask = jnp.arange(length) < lengths[:, None]  # [R, S]
    return Segment(keys, positions, jnp.repeat(mask, num_beams, axis=0)[:, None])


def generated_segment(cache: KeyValues, start: jax.Array, num_written: jax.Array, ancestors: jax.Array) -> Segment:
    """Generated tokens float[layers, R, M, W, G, D], visible to one new token of each beam.

    Args:
      start: int32[R], position of each row's first generated token.
      num_written: int32[R], slots in use.
      ancestors: int32[R, W, M], the beam in whose slot the token of each step lies.
    """
    layers, num_rows, capacity, num_beams = cache.key.shape[:4]
    keys = KeyValues(*(array.reshape(layers, num_rows, capacity * num_beams, *array.shape[4:]) for array in cache))
    step = jnp.arange(capacity)
    positions = jnp.repeat(start[:, None] + step, num_beams, axis=1)  # [R, M * W]
    mask = (ancestors[..., None] == jnp.arange(num_beams)) & (step < num_written[:, None])[:, None, :, None]  # [R, W, M, W]
    return Segment(keys, positions, mask.reshape(num_rows * num_beams, 1, capacity * num_beams))
