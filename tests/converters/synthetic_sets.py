"""A recorded set of sizes that no published model has.

Weights are random and the stages are our own model's, so a set like this says nothing about the original: it shows that sizes are
read as they are stated and that a change of a weight or of a recorded array is found. tests/goldens has the independent numbers.
"""

import json
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

from converters import recordings
from converters.recordings import Recording
from converters.state_dict_mapping import entries
from converters.verification.calls import CALLS, run_call
from pvchat_jax.models.config import PVChatConfig
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from tests.random_params import random_params

NAME = "odd"
BATCH, CLIPS, LENGTH = 2, 1, 13

INFO = {
    "seed": 7,
    "vit": {
        "img_size": 24,
        "patch_size": 8,
        "embed_dim": 32,
        "depth": 4,
        "num_heads": 2,
        "mlp_hidden": 40,
        "num_frames": 2,
        "tubelet_size": 1,
        "x_vis_return_idx": -2,
        "rms_eps": 1e-5,
        "sep_image_video_pos_embed": False,
        "vision_layernorm_eps": 1e-6,
    },
    "qformer": {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "intermediate_size": 36,
        "vocab_size": 19,
        "max_position_embeddings": 9,
        "layer_norm_eps": 1e-6,
        "cross_attention_freq": 2,
        "num_shared_heads": 1,
        "moh_start_layer": 1,
        "moh_top_k": 2,
        "remoe_lambda": 0.01,
        "k": 0.5,
        "alignment_weight": 0.7,
        "moh_load_balance_weight": 0.25,
    },
    "bridge": {"num_query_token": 3, "extra_num_query_token": 0, "num_personal_token": 2, "num_prefix_token": 1},
    "llm": {
        "vocab_size": 23,
        "hidden_size": 24,
        "intermediate_size": 28,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "rope_theta": 5e4,
        "rms_norm_eps": 1e-6,
        "lora_r": 2,
        "lora_alpha": 3,
    },
    "llm_vocab_after_adding_sks": 25,
    "versions": {"torch": "none"},
}


def write_set(directory: Path) -> Recording:
    """Writes the set into `directory` and returns it."""
    config = recordings.model_config(INFO)
    model = build_pvchat(config)
    params = random_params(lambda key: {"params": init_boxed(model, config, key)}, jax.random.key(0))
    inputs = make_inputs(config)
    recording = Recording(NAME, INFO, config, params, inputs)
    io = dict(inputs)
    with jax.default_matmul_precision("highest"):  # as in compare_recording, so that both run the same compiled program
        for call in CALLS:
            io |= {f"{call}/{stage}": np.asarray(value) for stage, value in run_call(recording, model, call).items()}
    (directory / f"{NAME}{recordings.CONFIG_SUFFIX}").write_text(json.dumps(INFO))
    save_file(state_dict(params, config), directory / f"{NAME}{recordings.STATE_DICT_SUFFIX}")
    np.savez(directory / f"{NAME}{recordings.IO_SUFFIX}", **io)
    return Recording(NAME, INFO, config, params, io)


def state_dict(params: dict, config: PVChatConfig) -> dict[str, np.ndarray]:
    """`params` under the original's names."""
    found: dict[str, np.ndarray] = {}
    for entry in entries(config):
        value = params
        for part in entry.path.split("/"):
            value = value[part]
        for key, tensor in entry.to_torch(np.asarray(value)).items():
            found[key] = np.ascontiguousarray(np.concatenate([found[key], tensor]) if key in found else tensor)
    return found


def make_inputs(config: PVChatConfig) -> dict[str, np.ndarray]:
    """Two rows of random pixels and ids, with an instruction for each clip."""
    rng = np.random.default_rng(0)
    vision, tokens = config.vision, config.qformer.num_visual_tokens
    video = rng.normal(size=(BATCH, CLIPS, vision.num_frames, 3, vision.image_size, vision.image_size)).astype(np.float32)
    visual = np.zeros((BATCH, LENGTH), bool)
    visual[:, 2 : 2 + CLIPS * tokens] = True
    ids = np.where(visual, 0, rng.integers(1, config.language_model.total_vocab_size, (BATCH, LENGTH)))
    mask = np.ones((BATCH, LENGTH), np.int64)
    mask[1, -2:] = 0
    return {
        "in/video": video,
        "in/video_image_T1": video[:, :, :1],
        "in/input_ids": ids,
        "in/attention_mask": mask,
        "in/labels": np.where(visual | (mask == 0), -100, ids),
        "in/video_idx": visual,
        "in/instr_input_ids": rng.integers(1, config.qformer.vocab_size, (BATCH * CLIPS, 4)),
        "in/instr_attention_mask": np.array([[0, 1, 1, 1], [1, 1, 1, 1]]),
    }
