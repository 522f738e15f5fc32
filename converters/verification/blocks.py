"""Block by block through the two towers that are scans: each block alone, fed with the recorded output of the one before.

A wrong block then differs alone, whatever it does to those above it; `calls.py` compares the towers as a whole.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from converters.recordings import Recording
from converters.verification.comparison import Comparison, compare
from pvchat_jax.models.config import MistralConfig, VisionConfig
from pvchat_jax.models.layers import RMSNorm
from pvchat_jax.models.mistral import MistralBlock
from pvchat_jax.models.vision import VisionBlock, VisionEncoder


def compare_vision_blocks(recording: Recording) -> Iterator[Comparison]:
    """`vid/vit_block{i}_out_clip0`, the first clip after each block."""
    config, params = recording.config.vision, recording.params["vision_encoder"]
    names = [f"vid/vit_block{index}_out_clip0" for index in range(config.num_blocks)]
    if not recording.io.keys() & set(names):
        return
    video = recording.clips_last("in/video")[0, :1]
    embedded = vision_embeddings(config, params, video)
    yield from _compare_chain(
        recording, names, embedded, lambda index, x: _apply_vision_block(config, _vision_block(config, params, index), x)
    )


@functools.partial(jax.jit, static_argnums=0)
def vision_embeddings(config: VisionConfig, params: dict[str, Any], video: jax.Array) -> jax.Array:
    """What enters the first block: float[B, T, H, W, 3] -> float[B, 1 + T/t * G * G, D].

    An encoder of two blocks whose branches are scaled by zero returns what it is given.
    """
    silent = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:1]), params["lower_blocks"])
    shallow = dataclasses.replace(config, depth=1 - config.return_index)
    return VisionEncoder(shallow, "none").apply({"params": {**params, "lower_blocks": silent, "upper_blocks": silent}}, video)


@functools.partial(jax.jit, static_argnums=0)
def _apply_vision_block(config: VisionConfig, block: dict[str, Any], x: jax.Array) -> jax.Array:
    return VisionBlock(config).apply({"params": block}, x)[0]


def _vision_block(config: VisionConfig, params: dict[str, Any], index: int) -> dict[str, Any]:
    half, offset = ("lower_blocks", 0) if index < config.num_lower_blocks else ("upper_blocks", config.num_lower_blocks)
    return jax.tree.map(lambda leaf: leaf[index - offset], params[half])


def compare_language_blocks(recording: Recording, text_embeds: jax.Array) -> Iterator[Comparison]:
    """`vid/lm_hidden{i}_row0`: the first row of text before the first block and after each; the last one after the final norm.

    Args:
      text_embeds: ours of the call `vid`, float[B, S, H].
    """
    config, params, io = recording.config.language_model, recording.params["language_model"], recording.io
    first, *names = [f"vid/lm_hidden{index}_row0" for index in range(config.num_layers + 1)]
    start = text_embeds[:1]
    if first in io:
        yield compare(first, start, io[first])
        start = io[first]
    if not io.keys() & set(names):
        return
    mask = jnp.asarray(io["in/attention_mask"][:1], bool)

    def apply(index: int, x: jax.Array) -> jax.Array:
        return _apply_language_block(config, jax.tree.map(lambda leaf: leaf[index], params["layers"]), x, mask)

    def norm(x: jax.Array) -> jax.Array:
        return RMSNorm(config.rms_norm_eps).apply({"params": params["norm"]}, x)

    yield from _compare_chain(recording, names, start, apply, last=norm)


@functools.partial(jax.jit, static_argnums=0)
def _apply_language_block(config: MistralConfig, block: dict[str, Any], x: jax.Array, mask: jax.Array) -> jax.Array:
    return MistralBlock(config, deterministic=True, backend="auto", dtype=jnp.float32).apply({"params": block}, x, mask[:, None])[0]


def _compare_chain(
    recording: Recording,
    names: list[str],
    start: jax.Array,
    apply: Callable[[int, jax.Array], jax.Array],
    last: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> Iterator[Comparison]:
    x = start
    for index, name in enumerate(names):
        x = apply(index, x)
        if name in recording.io:
            yield compare(name, last(x) if index == len(names) - 1 else x, recording.io[name])
            x = recording.io[name]
