"""Recorded sets: sizes are taken as they are stated, and what cannot be read is refused in one sentence."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converters import recordings
from pvchat_jax.errors import UserError
from tests.converters.synthetic_sets import INFO
from tests.golden_sets import GOLDENS

FILES = (recordings.CONFIG_SUFFIX, recordings.STATE_DICT_SUFFIX, recordings.IO_SUFFIX)


def test_sizes_other_than_the_published_ones() -> None:
    config = recordings.model_config(INFO)
    assert (config.vision.num_blocks, config.vision.grid_size, config.vision.num_heads) == (3, 3, 2)
    assert config.qformer.routed_modules == ("1.self", "2.self", "2.cross")
    assert (config.qformer.num_routed_heads, config.qformer.num_visual_tokens) == (5, 5)
    assert (config.language_model.head_dim, config.language_model.num_added_tokens) == (8, 2)
    assert config.language_model.lora.scale == 1.5 and not config.language_model.lora.rank_of("lm_head")
    objective = recordings.objective_config(INFO, config)
    assert (objective.target_active_rate, objective.spr_weight, objective.spr_rate) == (0.4, 0.25, 0.5)
    assert (objective.spr_initial, objective.hae_initial_weight, objective.hae_mode) == (0.01, 0.7, "reference")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for suffix in FILES:
        shutil.copyfile(GOLDENS / f"A{suffix}", tmp_path / f"A{suffix}")
    return tmp_path


def _edit_config(directory: Path, change: Callable[[dict], None]) -> None:
    path = directory / "A_config.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def _edit_weights(directory: Path, change: Callable[[dict], None]) -> None:
    path = directory / "A_state_dict.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def _absurd_npz(path: Path) -> None:
    """An array whose header states a size that no memory has."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**44, 4)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "A_config.json").unlink(), "A_config.json does not exist; name one of the sets.*there are: none"),
        (lambda folder: (folder / "A_config.json").write_text("{"), "A_config.json is no configuration"),
        (lambda folder: (folder / "A_config.json").write_text("[]"), "A_config.json is no configuration"),
        (lambda folder: (folder / "A_config.json").write_text("[" * 100_000), "A_config.json is no configuration"),
        (lambda folder: _edit_config(folder, lambda info: info["vit"].pop("depth")), "lacks 'depth'"),
        (lambda folder: _edit_config(folder, lambda info: info["qformer"].pop("moh_top_k")), "A_config.json lacks 'moh_top_k'"),
        (lambda folder: _edit_config(folder, lambda info: info["vit"].update(patch_size=0)), "A_config.json is no configuration"),
        (lambda folder: _edit_config(folder, lambda info: info["vit"].update(num_heads=7)), "not divisible by vision.num_heads 7"),
        (lambda folder: _edit_config(folder, lambda info: info["qformer"].update(hidden_act="relu")), "not of gelu"),
        (lambda folder: _edit_config(folder, lambda info: info["llm"].update(intermediate_size=95)), "up_proj"),
        (lambda folder: (folder / "A_state_dict.safetensors").write_bytes(b"\xff" * 40), "not a readable safetensors"),
        (lambda folder: _edit_weights(folder, lambda tensors: tensors.pop("vision_layernorm.bias")), "vision_layernorm.bias"),
        (
            lambda folder: _edit_weights(folder, lambda tensors: tensors.pop("personal_query_tokens")),
            "lacks subject_tokens, which A_config",
        ),
        (lambda folder: (folder / "A_io.npz").unlink(), "A_io.npz does not exist"),
        (lambda folder: (folder / "A_io.npz").write_bytes((folder / "A_io.npz").read_bytes()[:5000]), "not an .npz file"),
        (lambda folder: np.savez(folder / "A_io.npz", a=np.array([{}], dtype=object)), "not an .npz file"),
        (lambda folder: _absurd_npz(folder / "A_io.npz"), "not an .npz file"),
        (lambda folder: np.save((folder / "A_io.npz").open("wb"), np.zeros(3)), "not an .npz file"),
    ],
)
def test_damaged_sets_are_refused(directory: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(directory)
    with pytest.raises(UserError, match=message):
        recordings.load_set(directory, "A")


def test_an_array_that_is_missing_is_named_with_its_file(directory: Path) -> None:
    arrays = recordings.load_set(directory, "A").io
    assert "posT/none" not in arrays and arrays.get("posT/none") is None
    with pytest.raises(UserError, match=r"A_io\.npz lacks 'posT/none'"):
        arrays["posT/none"]


@pytest.mark.parametrize("name", ["grad_norms", "total_loss"])
def test_a_training_run_that_is_incomplete_is_refused(directory: Path, name: str) -> None:
    arrays = recordings.load_npz(GOLDENS / "A_train.npz")
    np.savez(directory / "A_train.npz", **{**arrays, name: np.float32(1)})
    with pytest.raises(UserError, match=f"A_train.npz needs .*{name}"):
        recordings.load_training(directory, "A")
