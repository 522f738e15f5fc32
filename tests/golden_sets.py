"""The numbers that the original PyTorch code computed, ready for comparison.

Every `<name>_config.json` in tests/goldens (and in the directory that the environment variable
PVCHAT_GOLDENS names, if set) is one set with its own sizes and seed.
"""

import dataclasses
import functools
import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from converters.state_dict_mapping import params_from_state_dict
from pvchat_jax.models.config import LoRAConfig, MistralConfig, PVChatConfig, QFormerConfig, ReMoHConfig, VisionConfig

LORA_OF_A_SAVED_CHECKPOINT = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def _directories() -> list[Path]:
    directories = [Path(__file__).parent / "goldens"]
    if extra := os.environ.get("PVCHAT_GOLDENS"):
        directories.append(Path(extra))
    return directories


PATHS = {path.name.removesuffix("_config.json"): path for directory in _directories() for path in sorted(directory.glob("*_config.json"))}
NAMES = sorted(PATHS)
TRAIN_NAMES = [name for name in NAMES if PATHS[name].with_name(f"{name}_train.npz").exists()]


@dataclasses.dataclass(frozen=True)
class GoldenSet:
    """One reference model: its sizes, weights in our layout, and recorded arrays by name."""

    info: dict
    config: PVChatConfig
    state_dict: dict[str, np.ndarray]
    params: dict
    io: dict[str, np.ndarray]

    def clips_last(self, name: str) -> np.ndarray:
        """A recorded video with channels last: [B, N, T, H, W, 3]."""
        return np.moveaxis(self.io[name], 3, -1)


def model_config(info: dict) -> PVChatConfig:
    """Our configuration of the sizes that a golden's JSON states."""
    vit, qformer, bridge, llm = info["vit"], info["qformer"], info["bridge"], info["llm"]
    return PVChatConfig(
        name=f"golden-{info['seed']}",
        vision=VisionConfig(
            image_size=vit["img_size"],
            patch_size=vit["patch_size"],
            tubelet_size=vit["tubelet_size"],
            num_frames=vit["num_frames"],
            width=vit["embed_dim"],
            depth=vit["depth"],
            return_index=vit["x_vis_return_idx"],
            num_heads=vit["num_heads"],
            mlp_width=vit["mlp_hidden"],
            rms_norm_eps=vit["rms_eps"],
            output_norm_eps=vit["vision_layernorm_eps"],
            separate_image_position=vit["sep_image_video_pos_embed"],
        ),
        qformer=QFormerConfig(
            width=qformer["hidden_size"],
            num_layers=qformer["num_hidden_layers"],
            num_heads=qformer["num_attention_heads"],
            mlp_width=qformer["intermediate_size"],
            vocab_size=qformer["vocab_size"],
            max_text_length=qformer["max_position_embeddings"],
            cross_attention_every=qformer["cross_attention_freq"],
            layer_norm_eps=qformer["layer_norm_eps"],
            num_query_tokens=bridge["num_query_token"],
            num_extra_query_tokens=bridge["extra_num_query_token"],
            num_subject_tokens=bridge["num_personal_token"],
            hidden_dropout=0.0,
            attention_dropout=0.0,
            drop_path=0.0,
            remoh=ReMoHConfig(start_layer=qformer["moh_start_layer"], num_shared_heads=qformer["num_shared_heads"], init="reference"),
        ),
        language_model=MistralConfig(
            vocab_size=llm["vocab_size"],
            num_added_tokens=info["llm_vocab_after_adding_sks"] - llm["vocab_size"],
            width=llm["hidden_size"],
            mlp_width=llm["intermediate_size"],
            num_layers=llm["num_hidden_layers"],
            num_heads=llm["num_attention_heads"],
            num_kv_heads=llm["num_key_value_heads"],
            head_dim=llm["hidden_size"] // llm["num_attention_heads"],
            rope_theta=llm["rope_theta"],
            rms_norm_eps=llm["rms_norm_eps"],
            lora=LoRAConfig(rank=llm["lora_r"], alpha=llm["lora_alpha"], dropout=0.0, targets=LORA_OF_A_SAVED_CHECKPOINT),
        ),
        remat_policy="none",
    )


@functools.cache
def load(name: str) -> GoldenSet:
    """The golden set called `name`."""
    path = PATHS[name]
    info = json.loads(path.read_text())
    config = model_config(info)
    state_dict = load_file(path.with_name(f"{name}_state_dict.safetensors"))
    params, absent = params_from_state_dict(state_dict, config)
    assert not absent
    return GoldenSet(info, config, state_dict, params, load_npz(path.with_name(f"{name}_io.npz")))


def load_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def assert_close(actual, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    """Every entry within `tolerance` of the largest absolute expected value (tests/goldens/README.md, "Tolerances")."""
    actual = np.asarray(actual)
    assert actual.shape == expected.shape
    largest = np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(largest, 1e-30))
