"""A golden's weights as others publish them: other names, other parts, other kinds of file."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import golden_sets

MISTRAL = "lm.base_model.model."
CREATED_BY_TRAINING = ("router_alpha", "lora_", "personal_query_tokens")

StateDict = dict[str, np.ndarray]


def chat_checkpoint() -> StateDict:
    """The combined checkpoint before PVChat: no routers, no subject tokens, no name in the vocabulary; LoRA on every layer and the head."""
    golden = golden_sets.load("A")
    size, rank, width = golden.config.language_model.vocab_size, golden.config.language_model.lora.rank, golden.config.language_model.width
    left_out = ("router_alpha", "personal_query_tokens", "lm.lm_head")
    found = {key: value for key, value in golden.state_dict.items() if not any(part in key for part in left_out)}
    for key in (f"{MISTRAL}model.embed_tokens.weight", f"{MISTRAL}lm_head.weight"):
        found[key] = np.ascontiguousarray(found[key][:size])
    random = np.random.default_rng(0)
    found[f"{MISTRAL}lm_head.lora_A.default.weight"] = random.normal(size=(rank, width)).astype(np.float32)
    found[f"{MISTRAL}lm_head.lora_B.default.weight"] = random.normal(size=(size, rank)).astype(np.float32)
    return found


def vision_file(*, prefix: str = "vision_encoder.") -> StateDict:
    """InternVideo2-1B as stage 2 of its own training saves it: one block more than is used, and heads of pretraining."""
    golden = golden_sets.load("A").state_dict
    bare = {key.removeprefix("vision_encoder."): value for key, value in golden.items() if key.startswith("vision_encoder.")}
    bare |= {key.replace("blocks.2.", "blocks.3."): value.copy() for key, value in bare.items() if key.startswith("blocks.2.")}
    bare = {f"{key}.gamma" if key.endswith((".ls1", ".ls2")) else key: value for key, value in bare.items()}
    bare |= {name: np.ones((1, 3), np.float32) for name in ("clip_pos_embed", "clip_img_pos_embed", "clip_projector.norm1_q.weight")}
    bare |= {"clip_decoder.0.head.weight": np.ones((3, 3), np.float32), "final_clip_decoder.norm.bias": np.ones(3, np.float32)}
    others = {"text_encoder.bert.embeddings.word_embeddings.weight": np.ones((5, 4), np.float32), "temp": np.ones((), np.float32)}
    return {f"{prefix}{key}": value for key, value in bare.items()} | (others if prefix else {})


def qformer_file(*, root: str = "Qformer.") -> StateDict:
    """A Q-Former of BLIP-2 (LAVIS names): no routers, nothing between it and other models but the norm before it."""
    golden = golden_sets.load("A").state_dict
    found = {key: value for key, value in golden.items() if key.startswith("qformer.bert.") and "router_alpha" not in key}
    found = {key.replace("qformer.", root, 1): value for key, value in found.items()}
    found |= {"query_tokens": golden["query_tokens"], "temp": np.ones((), np.float32)}
    found |= {f"ln_vision.{name}": golden[f"vision_layernorm.{name}"] for name in ("weight", "bias")}
    return found | {"Qformer.cls.predictions.bias": np.ones(3, np.float32), "visual_encoder.cls_token": np.ones(3, np.float32)}


def save_shards(state_dict: StateDict, folder: Path, index: str = "model.safetensors.index.json") -> None:
    """Two shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    weight_map = {key: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, key in enumerate(state_dict)}
    for shard in set(weight_map.values()):
        save_file({key: np.ascontiguousarray(state_dict[key]) for key in state_dict if weight_map[key] == shard}, folder / shard)
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def save_torch(state_dict: StateDict, path: Path, wrapper: str | None = None) -> None:
    """As torch.save writes a state dict, in the entry `wrapper` of a training checkpoint if one is named."""
    torch = pytest.importorskip("torch")
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state_dict.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({wrapper: tensors, "epoch": 3} if wrapper else tensors, path)
