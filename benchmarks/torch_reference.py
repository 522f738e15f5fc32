"""The whole model in PyTorch, from our weights: what `decoding.py` compares with. The language model is that of `transformers`.

Adapters are added to the outputs of frozen layers, as the original and ours do; neither merges them into the weights.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers

from pvchat_jax.models.config import MistralConfig, PVChatConfig
from pvchat_jax.models.remoh import GATE_RANGE, MIXING_RANGE

Tree = Mapping[str, Any]


class TorchReference:
    """Answers one question about one video, as the original does: encoder, Q-Former and all tokens for each question.

    Args:
      params: ours, as nested dicts of arrays.
    """

    def __init__(self, config: PVChatConfig, params: Tree) -> None:
        self._config = config
        self._params = _to_torch(params)
        self._language_model = build_mistral(config.language_model, params["language_model"])

    @torch.inference_mode()
    def answer(self, video: np.ndarray, input_ids: np.ndarray, video_mask: np.ndarray, **options: Any) -> np.ndarray:
        """New tokens of `generate(**options)` for a video float32[N, T, H, W, 3] and a prompt int[S] with its visual positions."""
        embeddings = self._language_model.get_input_embeddings()(torch.tensor(input_ids, dtype=torch.long))
        embeddings[torch.tensor(video_mask)] = self.visual_tokens(video)
        mask = torch.ones((1, len(input_ids)), dtype=torch.long)
        return self._language_model.generate(inputs_embeds=embeddings[None], attention_mask=mask, **options)[0].numpy()

    @torch.inference_mode()
    def visual_tokens(self, video: np.ndarray) -> torch.Tensor:
        """`float32[N, T, H, W, 3] -> float32[M, H]`."""
        params = self._params
        features = _vision_encoder(torch.tensor(video), params["vision_encoder"], self._config)
        features = _layer_norm(features, params["vision_norm"], self._config.vision.output_norm_eps)
        groups = [params[name] for name in ("query_tokens", "extra_query_tokens", "subject_tokens") if name in params]
        queries = _qformer(torch.cat(groups), features, params["qformer"], self._config)
        return _dense(queries, params["project_up"]).flatten(0, 1)


def build_mistral(config: MistralConfig, params: Tree) -> Any:
    """`MistralForCausalLM` with our weights, rows of added tokens last."""
    model = transformers.MistralForCausalLM(
        transformers.MistralConfig(
            vocab_size=config.total_vocab_size,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            rope_theta=config.rope_theta,
            rms_norm_eps=config.rms_norm_eps,
            sliding_window=config.sliding_window,
            attn_implementation="sdpa",
        )
    )
    model.load_state_dict({name: torch.tensor(np.array(value, np.float32)) for name, value in _state_dict(config, params)})
    layers = params["layers"]
    for index, layer in enumerate(model.model.layers):
        for part, module in (("self_attn", layer.self_attn), ("mlp", layer.mlp)):
            for name, target in layers[part].items():
                setattr(module, name, _with_adapter(getattr(module, name), target, config, index))
    if "lora_a" in params["lm_head"]:
        model.lm_head = _with_adapter(
            model.lm_head, {name: np.asarray(value)[None] for name, value in params["lm_head"].items()}, config, 0
        )
    return model.eval()


class _LoRALinear(torch.nn.Module):
    """A frozen layer and its adapter, as in PEFT; the adapter has no rows for added tokens."""

    def __init__(self, base: torch.nn.Linear, lora_a: torch.Tensor, lora_b: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.lora_a, self.lora_b = (torch.nn.Parameter(weight, requires_grad=False) for weight in (lora_a, lora_b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scale


def _with_adapter(base: torch.nn.Linear, target: Tree, config: MistralConfig, index: int) -> torch.nn.Module:
    if "lora_a" not in target:
        return base
    lora_a, lora_b = (torch.tensor(np.asarray(target[name][index], np.float32).T) for name in ("lora_a", "lora_b"))
    lora_b = F.pad(lora_b, (0, 0, 0, base.out_features - lora_b.shape[0]))
    return _LoRALinear(base, lora_a.contiguous(), lora_b.contiguous(), config.lora.scale)


def _state_dict(config: MistralConfig, params: Tree) -> Iterator[tuple[str, np.ndarray]]:
    added = config.num_added_tokens
    yield "model.embed_tokens.weight", np.concatenate([params["embed_tokens"], *([params["added_embedding"]] if added else [])])
    head = params["lm_head"]["kernel"]
    yield "lm_head.weight", np.concatenate([head, *([params["added_head"]] if added else [])], axis=1).T
    yield "model.norm.weight", params["norm"]["scale"]
    layers = params["layers"]
    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield from ((f"model.layers.{i}.{norm}.weight", scale) for i, scale in enumerate(layers[norm]["scale"]))
    for part in ("self_attn", "mlp"):
        for name, target in layers[part].items():
            yield from ((f"model.layers.{i}.{part}.{name}.weight", kernel.T) for i, kernel in enumerate(target["kernel"]))


def _to_torch(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _to_torch(value) for name, value in tree.items()}
    return torch.tensor(np.array(tree, np.float32))


def _dense(x: torch.Tensor, params: Tree) -> torch.Tensor:
    return F.linear(x, params["kernel"].T, params.get("bias"))


def _rms_norm(x: torch.Tensor, params: Tree, epsilon: float) -> torch.Tensor:
    return F.rms_norm(x, x.shape[-1:], params["scale"], epsilon)


def _layer_norm(x: torch.Tensor, params: Tree, epsilon: float) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], params["scale"], params["bias"], epsilon)


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, num_heads: int) -> torch.Tensor:
    """`float[B, L, D]` each `->` float[B, L, N, D / N]."""
    query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _vision_encoder(video: torch.Tensor, params: Tree, config: PVChatConfig) -> torch.Tensor:
    vision = config.vision
    batch, time, height, width, channels = video.shape
    t, p = vision.tubelet_size, vision.patch_size
    x = video.reshape(batch, time // t, t, height // p, p, width // p, p, channels).permute(0, 1, 3, 5, 2, 4, 6, 7)
    x = _dense(x.reshape(batch, -1, t * p * p * channels), params["patch_embed"])
    x = torch.cat([params["cls_token"].expand(batch, 1, -1), x], dim=1)
    x = x + params["pos_embed" if time > 1 else "img_pos_embed"]
    for blocks in (params["lower_blocks"], params["upper_blocks"]):
        for index in range(len(blocks["ls1"])):
            x = _vision_block(x, _layer(blocks, index), config)
    return x


def _layer(stacked: Tree, index: int) -> Tree:
    return {name: _layer(value, index) if isinstance(value, Mapping) else value[index] for name, value in stacked.items()}


def _vision_block(x: torch.Tensor, params: Tree, config: PVChatConfig) -> torch.Tensor:
    epsilon = config.vision.rms_norm_eps
    attention, mlp = params["attn"], params["mlp"]
    query, key, value = _dense(_rms_norm(x, params["norm1"], epsilon), attention["qkv"]).chunk(3, dim=-1)
    query, key = _rms_norm(query, attention["q_norm"], epsilon), _rms_norm(key, attention["k_norm"], epsilon)
    outputs = _attention(query, key, value, config.vision.num_heads).flatten(2)
    x = x + params["ls1"] * _dense(outputs, attention["proj"])
    hidden = F.gelu(_dense(_rms_norm(x, params["norm2"], epsilon), mlp["fc1"]))
    return x + params["ls2"] * _dense(hidden, mlp["fc2"])


def _qformer(tokens: torch.Tensor, features: torch.Tensor, params: Tree, config: PVChatConfig) -> torch.Tensor:
    qformer = config.qformer
    epsilon = qformer.layer_norm_eps
    hidden = _layer_norm(tokens.expand(features.shape[0], *tokens.shape), params["embeddings_norm"], epsilon)
    for index in range(qformer.num_layers):
        layer = params[f"layer_{index}"]
        hidden = _qformer_attention(hidden, hidden, layer["self_attention"], config)
        if qformer.has_cross_attention(index):
            hidden = _qformer_attention(hidden, features, layer["cross_attention"], config)
        network = layer["query_ffn"]
        inner = F.gelu(_dense(hidden, network["intermediate"]))
        hidden = _layer_norm(_dense(inner, network["output"]["dense"]) + hidden, network["output"]["norm"], epsilon)
    return hidden


def _qformer_attention(x: torch.Tensor, source: torch.Tensor, params: Tree, config: PVChatConfig) -> torch.Tensor:
    qformer = config.qformer
    outputs = _attention(_dense(x, params["query"]), _dense(source, params["key"]), _dense(source, params["value"]), qformer.num_heads)
    if "head_router" in params:
        router = params["head_router"]
        gates = _dense(x, router["router"]).clip(*GATE_RANGE).relu()
        mixing = _dense(x, router["mixing"]).clip(*MIXING_RANGE).softmax(-1)
        shared = mixing[..., :1].expand(*mixing.shape[:-1], qformer.remoh.num_shared_heads)
        weights = qformer.remoh.mixing_scale * torch.cat([shared, mixing[..., 1:] * gates], dim=-1)
        outputs = outputs * weights[..., None]
    return _layer_norm(_dense(outputs.flatten(2), params["output"]["dense"]) + x, params["output"]["norm"], qformer.layer_norm_eps)
