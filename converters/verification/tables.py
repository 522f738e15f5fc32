"""Recorded things beside the calls: position tables, clips of fewer frames, and the head with and without its adapter."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np

from converters.recordings import Recording
from converters.verification.comparison import Comparison, compare
from pvchat_jax.models.mistral import Mistral
from pvchat_jax.models.positions import resample_table, sincos_table
from pvchat_jax.models.vision import VisionEncoder

_HEAD = "lmhead_lora/lm.base_model.model.lm_head"


def compare_position_tables(recording: Recording) -> Iterator[Comparison]:
    """`sincos/*`, `expand_pos_embed/*` and `ckpt_interp/*`."""
    yield from _sincos(recording)
    yield from _resampled_at_run_time(recording)
    yield from _resampled_checkpoint(recording)


def _sincos(recording: Recording) -> Iterator[Comparison]:
    vision = recording.config.vision
    for name, frames in (("sincos/pos_embed", vision.num_temporal_positions), ("sincos/img_pos_embed", 1)):
        if name in recording.io:
            yield compare(name, sincos_table(frames, vision.grid_size, vision.width), recording.io[name])


def _resampled_at_run_time(recording: Recording) -> Iterator[Comparison]:
    vision = recording.config.vision
    table = recording.params["vision_encoder"]["pos_embed"]
    for kind in ("temporal", "spatial", "both"):
        name = f"expand_pos_embed/{kind}"
        if name not in recording.io:
            continue
        time, tokens = recording.io[f"{name}_newT_newL"].tolist()
        expected = recording.io[name]
        new = (time, round(tokens**0.5))
        if expected.shape[1] != 1 + new[0] * new[1] ** 2:  # recorded as tokens of the whole clip
            new = (time, round((tokens / time) ** 0.5))
        yield compare(name, resample_table(table, (vision.num_temporal_positions, vision.grid_size), new), expected)


def _resampled_checkpoint(recording: Recording) -> Iterator[Comparison]:
    vision, io = recording.config.vision, recording.io
    if "ckpt_interp/pos_embed_out" in io:
        old = (int(io["ckpt_interp/orig_t_size"]), int(io["ckpt_interp/orig_grid"]))
        resampled = resample_table(io["ckpt_interp/pos_embed_in"], old, (vision.num_temporal_positions, vision.grid_size))
        yield compare("ckpt_interp/pos_embed_out", resampled, io["ckpt_interp/pos_embed_out"])


def compare_fewer_frames(recording: Recording) -> Iterator[Comparison]:
    """`posT/*`: clips of fewer frames than the position table has."""
    name = "posT/vision_encoder_out"
    if name not in recording.io or "in/video" not in recording.io:
        return
    expected, video = recording.io[name], recording.clips_last("in/video")
    clips = video.reshape(-1, *video.shape[2:])[: len(expected), : int(recording.io["posT/num_frames_used"])]
    encoder = VisionEncoder(recording.config.vision, "none")
    yield compare(name, jax.jit(encoder.apply)({"params": recording.params["vision_encoder"]}, clips), expected)


def compare_heads(recording: Recording) -> Iterator[Comparison]:
    """`lmhead_lora/*`: the language model with its head's adapter, and after the original lost that."""
    io, config = recording.io, recording.config.language_model
    if "lmhead_lora/inputs_embeds" not in io:
        return
    params = recording.params["language_model"]
    inputs = (io["lmhead_lora/inputs_embeds"], io["lmhead_lora/attention_mask"])
    if "lmhead_lora/logits" in io:
        lora = dataclasses.replace(config.lora, targets=(*config.lora.targets, "lm_head"))
        before = dataclasses.replace(config, num_added_tokens=0, lora=lora)
        head = {
            "kernel": np.transpose(io[f"{_HEAD}.weight"]),
            "lora_a": np.transpose(io[f"{_HEAD}.lora_A.default.weight"]),
            "lora_b": np.transpose(io[f"{_HEAD}.lora_B.default.weight"]),
        }
        logits = jax.jit(Mistral(before, "none").apply)({"params": {**params, "lm_head": head}}, *inputs)
        yield compare("lmhead_lora/logits", logits, io["lmhead_lora/logits"])
    lost = "lmhead_lora/logits_after_resize_lm_head_lora_lost"
    if lost in io:
        yield compare(lost, jax.jit(Mistral(config, "none").apply)({"params": params}, *inputs), io[lost])
