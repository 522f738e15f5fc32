"""Every stage of a recording, in the order of computation, and what of it is not compared."""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator
from typing import Any

import jax

from converters.recordings import Recording
from converters.verification.blocks import compare_language_blocks, compare_vision_blocks
from converters.verification.calls import CALLS, compare_logits, compare_stages, has_inputs, run_call
from converters.verification.comparison import Comparison, not_compared
from converters.verification.inputs import check_inputs
from converters.verification.losses import compare_losses
from converters.verification.tables import compare_fewer_frames, compare_heads, compare_position_tables
from pvchat_jax.models.pvchat import build_pvchat

# Inputs of stages, which are read and not results of their own.
_INPUTS = (
    "in/*",
    "posT/num_frames_used",
    "expand_pos_embed/*_newT_newL",
    "ckpt_interp/pos_embed_in",
    "ckpt_interp/orig_*",
    "lmhead_lora/inputs_embeds",
    "lmhead_lora/attention_mask",
    "lmhead_lora/lm.*",
)
_REASONS = {"gen/*": "generation is not compared yet"}


def compare_recording(recording: Recording, announce: Callable[[str], None] = lambda what: None) -> Iterator[Comparison]:
    """One comparison per recorded array, inputs left out.

    Matrix products are exact to float32 whatever the device would do by itself.

    Args:
      announce: is told what comes next, since a stage of a large model may take minutes.

    Raises:
      UserError: the recorded inputs do not fit the configuration, or a stage's are incomplete.
    """
    check_inputs(recording)
    done = set()
    recording = dataclasses.replace(recording, params=jax.device_put(recording.params))  # once, not for every stage
    with jax.default_matmul_precision("highest"):
        for comparison in _compare(recording, announce):
            done.add(comparison.stage)
            yield comparison
    for name, array in recording.io.items():
        if name not in done and not any(fnmatch.fnmatchcase(name, pattern) for pattern in _INPUTS):
            reasons = (reason for pattern, reason in _REASONS.items() if fnmatch.fnmatchcase(name, pattern))
            yield not_compared(name, array, next(reasons, "not known to this version, or without its inputs"))


def _compare(recording: Recording, announce: Callable[[str], None]) -> Iterator[Comparison]:
    model = build_pvchat(recording.config)
    stages_of: dict[str, dict[str, Any]] = {}
    if has_inputs(recording, "vid"):
        announce("vision blocks")
        yield from compare_vision_blocks(recording)
    for call in CALLS:
        if has_inputs(recording, call) and any(name.startswith(f"{call}/") for name in recording.io):
            announce(f"call {call}")
            stages = stages_of[call] = run_call(recording, model, call)
            yield from compare_stages(recording, call, stages)
            if call == "vid":
                yield from compare_language_blocks(recording, stages["text_embeds"])
            yield from compare_logits(recording, call, stages["logits"])
    announce("losses")
    yield from compare_losses(recording, stages_of)
    announce("position tables and heads")
    yield from compare_position_tables(recording)
    yield from compare_fewer_frames(recording)
    yield from compare_heads(recording)
