"""What the original PyTorch code computed, as recorded in a directory: the goldens, or anyone's recording in the same format.

A set called A is the files `A_config.json` (sizes), `A_state_dict.safetensors` (weights under the original's names), `A_io.npz`
(inputs and outputs of every stage) and, where training was recorded, `A_train.npz`. tests/goldens/README.md describes the arrays.
"""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from converters.plan import Plan, make_plan
from converters.sources import source_tensors
from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import LORA_TARGETS, LoRAConfig, MistralConfig, PVChatConfig, QFormerConfig, ReMoHConfig, VisionConfig

CONFIG_SUFFIX, STATE_DICT_SUFFIX, IO_SUFFIX, TRAIN_SUFFIX = "_config.json", "_state_dict.safetensors", "_io.npz", "_train.npz"
LORA_OF_A_SAVED_CHECKPOINT = LORA_TARGETS[:-1]  # the original loses the head's adapter when it grows the vocabulary

Arrays = dict[str, np.ndarray]


class RecordedArrays(Arrays):
    """The arrays of the file `path` by name; to ask for one that it lacks raises UserError."""

    def __init__(self, path: Path, arrays: Arrays) -> None:
        super().__init__(arrays)
        self._path = path

    def __missing__(self, name: str) -> np.ndarray:
        raise UserError(f"{self._path} lacks {name!r}, which goes with what else it holds; record it again.")


@dataclasses.dataclass(frozen=True)
class Recording:
    """Inputs and outputs of one model.

    Attributes:
      name: of the set, such as `A`.
      info: the configuration as recorded; empty where there is none.
      config: our configuration of those sizes.
      params: the recorded weights in our layout.
      io: recorded arrays by name, channels of videos third as in PyTorch.
    """

    name: str
    info: dict[str, Any]
    config: PVChatConfig
    params: dict[str, Any]
    io: Arrays

    def clips_last(self, name: str) -> np.ndarray:
        """A recorded video with channels last: float[B, N, T, H, W, 3]."""
        return np.moveaxis(self.io[name], 3, -1)

    @property
    def objective(self) -> ObjectiveConfig:
        """The regularisers that the recorded model ran with."""
        return objective_config(self.info, self.config)


def set_names(directory: Path) -> list[str]:
    """Names of the sets in `directory`."""
    return sorted(path.name.removesuffix(CONFIG_SUFFIX) for path in directory.glob(f"*{CONFIG_SUFFIX}"))


def load_set(directory: Path, name: str) -> Recording:
    """The set `name` of `directory`.

    Raises:
      UserError: a file of the set is missing, cannot be read or does not fit the others.
    """
    path = directory / f"{name}{CONFIG_SUFFIX}"
    if not path.is_file():
        known = ", ".join(set_names(directory)) or "none"
        raise UserError(f"{path} does not exist; name one of the sets in {directory} (there are: {known}).")
    info, config = read_config(path)
    weights = directory / f"{name}{STATE_DICT_SUFFIX}"
    plan = make_plan(source_tensors(weights), config)
    if plan.initialised:
        raise UserError(f"{weights} lacks {plan.initialised[0]}, which {path.name} says the model has; record both together.")
    return Recording(name, info, config, read_parameters(plan), load_npz(directory / f"{name}{IO_SUFFIX}"))


def read_parameters(plan: Plan) -> dict[str, Any]:
    """The parameters of `plan` in the dtypes of their files; the largest stack is held twice while it is put together."""
    found = {}
    for leaf in plan.leaves:
        slices = [read() for read in leaf.slices(plan.config)]
        value = np.stack(slices) if leaf.entry.stacked else slices[0]
        # resampling returns the dtype of the table, and a table of bfloat16 would round what it makes
        found[leaf.entry.path] = value.astype(np.float32) if leaf.entry.path.endswith("pos_embed") else value
    return unflatten_dict(found, sep="/")


def load_training(directory: Path, name: str) -> Arrays:
    """The recorded training run of the set `name`.

    Raises:
      UserError: the set has none, or it cannot be read.
    """
    path = directory / f"{name}{TRAIN_SUFFIX}"
    arrays = load_npz(path)
    if np.shape(arrays["grad_names"]) != np.shape(arrays["grad_norms"]) or np.ndim(arrays["total_loss"]) != 1:
        raise UserError(f"{path} needs a norm in 'grad_norms' for each of 'grad_names', and a 'total_loss' of each step; record it again.")
    return arrays


def load_npz(path: Path) -> Arrays:
    """Every array of an .npz file.

    Raises:
      UserError: it does not exist, or is no .npz file of plain arrays.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; a set needs it, so record it or copy it there.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return RecordedArrays(path, dict(archive))
    # absurd sizes are a MemoryError; what else a damaged or encrypted archive makes zipfile raise, are the last three
    except (ValueError, OSError, EOFError, AttributeError, TypeError, MemoryError, zipfile.BadZipFile, RuntimeError, zlib.error) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays ({error}); record it again.") from error


def read_config(path: Path) -> tuple[dict[str, Any], PVChatConfig]:
    """A set's JSON and our configuration of the sizes in it.

    Raises:
      UserError: it cannot be read, lacks a size, or describes a model that we do not have.
    """
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        config = model_config(info)
        objective_config(info, config)  # so that what it needs is missed here
        return info, config
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give the configuration of a recorded set.") from error
    except KeyError as error:
        raise UserError(f"{path} lacks {error}; tests/goldens/README.md names a configuration that is complete.") from error
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{path} is no configuration of a recorded set: {error}.") from error


def model_config(info: Mapping[str, Any]) -> PVChatConfig:
    """Our configuration of the sizes that a set's JSON states, without dropout and without recomputation.

    Raises:
      KeyError: a size is missing. ValueError: the sizes do not fit together, or we have no such model.
    """
    vit, qformer, bridge, llm = info["vit"], info["qformer"], info["bridge"], info["llm"]
    if vit.get("qkv_bias", False) or qformer.get("hidden_act", "gelu") != "gelu":
        raise ValueError("a vision encoder with qkv_bias or a Q-Former that is not of gelu, which this model does not have")
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
            head_dim=llm.get("head_dim") or llm["hidden_size"] // llm["num_attention_heads"],
            rope_theta=llm["rope_theta"],
            rms_norm_eps=llm["rms_norm_eps"],
            sliding_window=llm.get("sliding_window"),
            lora=LoRAConfig(rank=llm["lora_r"], alpha=llm["lora_alpha"], dropout=0.0, targets=LORA_OF_A_SAVED_CHECKPOINT),
        ),
        remat_policy="none",
    )


def objective_config(info: Mapping[str, Any], config: PVChatConfig) -> ObjectiveConfig:
    """The regularisers as the original computes them, with the recorded numbers where `info` has some."""
    original = ObjectiveConfig(spr_rate=0.8, hae_mode="reference")
    moh = info.get("qformer")
    if moh is None or not config.qformer.routed_modules:
        return original
    return dataclasses.replace(
        original,
        target_active_rate=moh["moh_top_k"] / config.qformer.num_routed_heads,
        spr_weight=moh["moh_load_balance_weight"],
        spr_rate=moh["k"],
        spr_initial=moh["remoe_lambda"],
        hae_initial_weight=moh["alignment_weight"],
    )
