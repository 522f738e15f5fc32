"""Our language model in the files of `transformers` (merged weights) and of `peft` (an adapter)."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.lora_merging import merge_adapters
from converters.state_dict_mapping import LORA_A, LORA_B, state_dict_from_params
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import MistralConfig, PVChatConfig

MAX_POSITIONS = 32768  # of Mistral-7B-Instruct-v0.3; ours has no limit of its own

# The original has its language model inside peft's wrapper, inside the whole model.
_MODEL, _WRAPPED_MODEL = "lm.base_model.model.", "lm."


def merged_tensors(language_model: dict, config: PVChatConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Names and weights of `MistralForCausalLM`, adapters merged, rows of added names last. One merged weight exists at a time."""
    tensors = state_dict_from_params({"language_model": language_model}, config)
    for key, tensor in merge_adapters(tensors, config.language_model.lora.scale):
        yield key.removeprefix(_MODEL), tensor


def mistral_json(config: MistralConfig, *, bos_id: int, eos_id: int, dtype: str) -> dict[str, Any]:
    """config.json of the merged model."""
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "vocab_size": config.total_vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        # Before version 5 transformers reads the first and ignores the second, silently.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "sliding_window": config.sliding_window,
        "max_position_embeddings": MAX_POSITIONS,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": bos_id,
        "eos_token_id": eos_id,
        "torch_dtype": dtype,  # `dtype` since transformers 4.56, which still reads this
    }


def adapter_tensors(language_model: dict, config: PVChatConfig, head_dtype: np.dtype) -> dict[str, np.ndarray]:
    """Tensors of adapter_model.safetensors: the adapters, and the rows of added names.

    peft can replace single rows of a head or adapt the head, not both. With an adapted head and names, the whole head is
    among the tensors, its adapter merged, in `head_dtype`; everything else is float32.

    Raises:
      UserError: the model has no adapter.
    """
    if not adapted_layers(config.language_model):
        raise UserError(f"the model '{config.name}' has no LoRA below its head, so there is no adapter; export it with --to merged.")
    tensors = state_dict_from_params({"language_model": language_model}, config)
    embeddings, head = f"{_MODEL}model.embed_tokens", f"{_MODEL}lm_head"
    found = {key: value for key, value in tensors.items() if key.endswith((LORA_A, LORA_B))}
    rows = config.language_model.vocab_size
    if config.language_model.num_added_tokens:
        found[f"{embeddings}.token_adapter.trainable_tokens_delta"] = tensors[f"{embeddings}.weight"][rows:]
        if saves_head(config.language_model):
            adapted = {f"{head}.weight": tensors[f"{head}.weight"]} | {head + part: found.pop(head + part) for part in (LORA_A, LORA_B)}
            found |= merge_adapters(adapted, config.language_model.lora.scale)
        else:
            found[f"{head}.token_adapter.trainable_tokens_delta"] = tensors[f"{head}.weight"][rows:]
    return {
        key.removeprefix(_WRAPPED_MODEL).replace(".default.", "."): np.ascontiguousarray(
            value, head_dtype if key == f"{head}.weight" else np.float32
        )
        for key, value in found.items()
    }


def adapter_json(config: MistralConfig) -> dict[str, Any]:
    """adapter_config.json of the adapter."""
    names = list(range(config.vocab_size, config.total_vocab_size))
    replaced = [] if not names else ["embed_tokens"] if saves_head(config) else ["embed_tokens", "lm_head"]
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": None,
        "r": config.lora.rank,
        "lora_alpha": config.lora.alpha,
        "lora_dropout": config.lora.dropout,
        "bias": "none",
        "target_modules": adapted_layers(config) if saves_head(config) else [*config.lora.targets],
        "modules_to_save": ["lm_head"] if saves_head(config) else None,
        "trainable_token_indices": {module: names for module in replaced} or None,
    }


def saves_head(config: MistralConfig) -> bool:
    """Whether an adapter directory holds the whole head."""
    return bool(config.num_added_tokens and config.lora.rank_of("lm_head"))


def adapted_layers(config: MistralConfig) -> list[str]:
    """Projections of the blocks that have an adapter."""
    return [target for target in config.lora.targets if target != "lm_head" and config.lora.rank_of(target)]
