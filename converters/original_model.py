"""A state dict that the original's code loads with `strict=True` and that computes there what our model computes here.

Where the two models differ, our numbers are rewritten exactly (but for rounding):

- The original's head has no adapter, because its vocabulary's resizing drops it: ours is merged into the head.
- With `remoh.init="identity"` our mixing weights have a factor of 2 that the original lacks: the output projections behind
  them, which see nothing else, get it.

Strict loading also wants tensors that the original never uses. `lm.lm_head.weight`, a copy of the head that nothing calls,
is a copy of the head again, `position_ids` counts from 0, and `project_down`, which nothing calls either, is zero.
"""

import numpy as np

from converters.lora_merging import merge_adapters
from converters.state_dict_mapping import LORA_A, LORA_B, state_dict_from_params, with_base_layer_names
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import LORA_TARGETS, PVChatConfig

PEFT_NAMES = ("old", "new")
ORIGINAL_LORA_SCALE = 2.0  # alpha 32 over rank 16, written into the original's code

_LANGUAGE_MODEL = "lm.base_model.model"


def original_state_dict(params: dict, config: PVChatConfig, peft_names: str = "old") -> dict[str, np.ndarray]:
    """Every tensor of the original's `state_dict()` by name.

    Args:
      params: our whole tree.
      peft_names: `old`, as peft before 0.6 named adapted layers, which the original was trained with, or `new`.

    Raises:
      UserError: the original's code cannot compute what this model computes.
    """
    _check_original_can_compute(config)
    tensors = state_dict_from_params(params, config)
    _merge_head(tensors, config)
    _fold_mixing_scale(tensors, config)
    tensors |= _unused_tensors(tensors, config)
    return with_base_layer_names(tensors) if peft_names == "new" else tensors


def _check_original_can_compute(config: PVChatConfig) -> None:
    lora = config.language_model.lora
    lacking = [target for target in LORA_TARGETS[:-1] if not lora.rank_of(target)]
    reason = None
    if config.qformer.remoh.router != "relu" and config.qformer.routed_modules:
        reason = f"has {config.qformer.remoh.router} routers and the original knows relu routers alone"
    elif lacking:
        reason = f"has no adapter on {', '.join(lacking)} and the original has one there"
    elif lora.scale != ORIGINAL_LORA_SCALE:
        reason = f"scales its adapters by {lora.scale:g} and the original by {ORIGINAL_LORA_SCALE:g}"
    if reason:
        raise UserError(f"the model '{config.name}' {reason}; export its language model alone with --to merged.")


def _merge_head(tensors: dict[str, np.ndarray], config: PVChatConfig) -> None:
    head = f"{_LANGUAGE_MODEL}.lm_head"
    adapted = {key: tensors.pop(key) for key in (head + ".weight", head + LORA_A, head + LORA_B) if key in tensors}
    tensors |= merge_adapters(adapted, config.language_model.lora.scale)


def _fold_mixing_scale(tensors: dict[str, np.ndarray], config: PVChatConfig) -> None:
    for module in config.qformer.routed_modules:
        layer, kind = module.split(".")
        attention = {"self": "attention", "cross": "crossattention"}[kind]
        key = f"qformer.bert.encoder.layer.{layer}.{attention}.output.dense.weight"
        tensors[key] = tensors[key] * tensors[key].dtype.type(config.qformer.remoh.mixing_scale)  # 1 or 2, so nothing is rounded


def _unused_tensors(tensors: dict[str, np.ndarray], config: PVChatConfig) -> dict[str, np.ndarray]:
    up = tensors["project_up.weight"]  # [H, Q]
    return {
        "project_down.weight": np.zeros(up.shape[::-1], up.dtype),
        "project_down.bias": np.zeros(up.shape[1], up.dtype),
        "lm.lm_head.weight": tensors[f"{_LANGUAGE_MODEL}.lm_head.weight"],
        "qformer.bert.embeddings.position_ids": np.arange(config.qformer.max_text_length, dtype=np.int64)[None],
    }
