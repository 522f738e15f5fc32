"""Conversion of saved files: what is read back equals what was saved, and bad files are refused in one sentence."""

import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import save_file

from converters import from_torch
from pvchat_jax.errors import UserError
from tests import golden_sets


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> str:
    """The golden's sizes under a preset's name."""
    monkeypatch.setitem(from_torch.PRESETS, "golden", golden_sets.load("A").config)
    return "golden"


def _read(path: Path) -> dict:
    with ocp.PyTreeCheckpointer() as reader:
        return reader.restore(path)


def test_one_file_with_its_tokenizer(tmp_path: Path, preset: str) -> None:
    golden = golden_sets.load("A")
    source = tmp_path / "original"
    source.mkdir()
    save_file(golden.state_dict, source / "model.safetensors")
    (source / "tokenizer.json").write_text("{}")
    from_torch.convert(source, tmp_path / "weights", preset, "float32")
    jax.tree.map(np.testing.assert_array_equal, _read(tmp_path / "weights"), golden.params)
    assert (tmp_path / "weights" / "tokenizer" / "tokenizer.json").is_file()


def test_shards_in_bfloat16_without_adapters(tmp_path: Path, preset: str) -> None:
    golden = golden_sets.load("A")
    kept = {key: value for key, value in golden.state_dict.items() if "lora_" not in key}
    weight_map = {key: f"part-{index % 2}.safetensors" for index, key in enumerate(kept)}
    for shard in set(weight_map.values()):
        save_file({key: kept[key] for key in kept if weight_map[key] == shard}, tmp_path / shard)
    (tmp_path / from_torch.INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))
    report = from_torch.convert(tmp_path, tmp_path / "weights", preset, "bfloat16")
    assert "14 parameters" in report and "lora_a" in report
    written = _read(tmp_path / "weights")["vision_norm"]["scale"]
    np.testing.assert_array_equal(written, golden.params["vision_norm"]["scale"].astype(from_torch.DTYPES["bfloat16"]))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "no safetensors file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 40), "not a readable safetensors"),
        (lambda folder: (folder / from_torch.INDEX_FILE).write_text('{"weight_map": {"a": "../x"}}'), "outside its folder"),
        (lambda folder: (folder / from_torch.INDEX_FILE).write_text('{"weight_map": {"a": "x"}}'), "lacks x"),
        (lambda folder: (folder / from_torch.INDEX_FILE).write_text("[]"), "not an index"),
    ],
)
def test_bad_sources(tmp_path: Path, preset: str, prepare, message: str) -> None:
    prepare(tmp_path)
    with pytest.raises(UserError, match=message):
        from_torch.convert(tmp_path, tmp_path / "weights", preset, "float32")
    assert not (tmp_path / "weights").exists()
