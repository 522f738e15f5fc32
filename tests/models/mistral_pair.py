"""A decoder of `transformers` and its weights in our layout."""

import numpy as np

from pvchat_jax.models.config import MistralConfig


def hugging_face(config: MistralConfig):
    """A `MistralForCausalLM` of these sizes with random weights."""
    import torch
    from transformers import MistralConfig as HuggingFaceConfig
    from transformers import MistralForCausalLM

    torch.manual_seed(0)
    return MistralForCausalLM(
        HuggingFaceConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            rope_theta=config.rope_theta,
            rms_norm_eps=config.rms_norm_eps,
            sliding_window=config.sliding_window,
            attn_implementation="eager",
        )
    ).eval()


def our_params(state_dict: dict, config: MistralConfig) -> dict:
    """Its weights in our layout."""
    weights = {name: tensor.numpy() for name, tensor in state_dict.items()}

    def stack(name: str) -> np.ndarray:
        return np.stack([weights[f"model.layers.{i}.{name}.weight"] for i in range(config.num_layers)])

    def kernel(name: str) -> dict:
        return {"kernel": stack(name).transpose(0, 2, 1)}

    return {
        "embed_tokens": weights["model.embed_tokens.weight"],
        "norm": {"scale": weights["model.norm.weight"]},
        "lm_head": {"kernel": weights["lm_head.weight"].T},
        "layers": {
            "input_layernorm": {"scale": stack("input_layernorm")},
            "post_attention_layernorm": {"scale": stack("post_attention_layernorm")},
            "self_attn": {name: kernel(f"self_attn.{name}") for name in ("q_proj", "k_proj", "v_proj", "o_proj")},
            "mlp": {name: kernel(f"mlp.{name}") for name in ("gate_proj", "up_proj", "down_proj")},
        },
    }
