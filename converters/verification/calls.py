"""Whole recorded calls: the model from pixels and ids to logits, its parts as they come out on the way."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from converters.recordings import Recording
from converters.verification.comparison import Comparison, compare
from pvchat_jax.models.pvchat import PVChat

CALLS = ("vid", "img", "ins")

# The model's parts whose outputs are taken on the way, by the stage that the original recorded.
_PARTS = {
    "vision_encoder": "vision_encoder_out",
    "vision_norm": "vision_layernorm_out",
    "project_up": "project_up_out",
}
_FIRST_STAGES = ("vision_encoder_out", "vision_layernorm_out", "qformer_embeddings_out_clip0")
_LAST_STAGES = ("qformer_query_out", "qformer_text_out", "project_up_out", "text_embeds")


def has_inputs(recording: Recording, call: str) -> bool:
    """Whether the inputs of `call` were recorded."""
    return set(_input_names(call)) <= recording.io.keys()


def _input_names(call: str) -> tuple[str, ...]:
    video = "in/video_image_T1" if call == "img" else "in/video"
    instruction = ("in/instr_input_ids", "in/instr_attention_mask") if call == "ins" else ()
    return (video, "in/input_ids", "in/attention_mask", "in/video_idx", *instruction)


def run_call(recording: Recording, model: PVChat, call: str) -> dict[str, jax.Array]:
    """Every stage of `call` by the name that the original recorded it under, `logits` in full.

    One pass through the model as users call it; the stages are taken out of it, none is fed with a recorded one.
    """
    names = _input_names(call)
    inputs = [recording.clips_last(names[0]), *(recording.io[name][:, None] for name in names[1:4])]
    instruction = dict(zip(("instruction_ids", "instruction_mask"), (recording.io[name] for name in names[4:]), strict=False))

    return _run(model, recording.params, inputs, instruction)


@functools.partial(jax.jit, static_argnums=0)
def _run(model: PVChat, params: dict[str, Any], inputs: list[np.ndarray], instruction: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    output, state = model.apply({"params": params}, *inputs, **instruction, capture_intermediates=_is_stage, mutable=["intermediates"])
    return _named_stages(state["intermediates"]) | {"logits": output.logits[:, 0]}


def _is_stage(module: Any, method: str) -> bool:
    if method == "__call__":
        parts = (*_PARTS, "qformer", "embeddings_norm")
        return module.name in parts or (module.name or "").startswith("layer_")
    return method == "embed_rows"


def _named_stages(captured: dict[str, Any]) -> dict[str, jax.Array]:
    qformer = captured["qformer"]
    (output,) = qformer["__call__"]
    stages = {stage: captured[part]["__call__"][0] for part, stage in _PARTS.items()}
    clips, visual = output.queries.shape[0], stages["project_up_out"]
    stages["project_up_out"] = visual.reshape(clips, -1, visual.shape[-1])
    stages["qformer_embeddings_out_clip0"] = qformer["embeddings_norm"]["__call__"][0][:1]
    for name, layer in qformer.items():
        if name.startswith("layer_"):
            stages[f"qformer_{name.replace('_', '')}_out_clip0"] = layer["__call__"][0][0][:1]
    for module, routing in output.routing.items():
        stages[f"gating_probs.{module}"], stages[f"alpha_probs.{module}"] = routing.gates, routing.mixing
    stages["qformer_query_out"], stages["text_embeds"] = output.queries, captured["embed_rows"][0]
    if output.text is not None:
        stages["qformer_text_out"] = output.text
    return stages


def compare_stages(recording: Recording, call: str, stages: dict[str, jax.Array]) -> Iterator[Comparison]:
    """The stages of `run_call` up to the language model's input beside the recorded ones, in the order of computation."""
    for stage in _in_order(recording, stages):
        recorded = recording.io.get(f"{call}/{stage}")
        if recorded is not None:
            yield compare(f"{call}/{stage}", stages[stage], recorded)


def compare_logits(recording: Recording, call: str, logits: jax.Array) -> Iterator[Comparison]:
    """`logits`, or `logits_last{n}` where the last n positions alone were recorded."""
    for name, recorded in recording.io.items():
        if name == f"{call}/logits":
            yield compare(name, logits, recorded)
        elif (positions := name.removeprefix(f"{call}/logits_last")).isdecimal():
            yield compare(name, logits[:, -int(positions) :], recorded)


def _in_order(recording: Recording, stages: dict[str, jax.Array]) -> Iterator[str]:
    yield from _FIRST_STAGES
    for layer in range(recording.config.qformer.num_layers):
        for module in (f"{layer}.self", f"{layer}.cross"):
            yield from (stage for stage in (f"gating_probs.{module}", f"alpha_probs.{module}") if stage in stages)
        yield f"qformer_layer{layer}_out_clip0"
    yield from (stage for stage in _LAST_STAGES if stage in stages)
