"""Files of tensors, also those that nobody should trust: each is read exactly or refused in one sentence."""

import json
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from converters import tensor_files
from converters.sources import source_tensors
from converters.tensor_files import stored_tensors
from pvchat_jax.errors import UserError
from tests.converters.published_files import save_shards, save_torch

torch = pytest.importorskip("torch")

VALUES = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1.5, -2.25], ml_dtypes.bfloat16),
    "c": np.arange(3, dtype=np.float16),
    "d": np.arange(4),
}
DTYPES = {"a": "F32", "b": "BF16", "c": "F16"}


def refused(source: Path) -> str:
    """The one sentence with which a source is refused."""
    with pytest.raises(UserError) as caught:
        source_tensors(source)
    message = str(caught.value)
    assert message.count("\n") == 0 and message.endswith(".") and str(source) in message
    return message


def torch_tensors() -> dict:
    floats = {key: torch.from_numpy(value.astype(np.float32)) for key, value in VALUES.items() if key != "d"}
    kinds = {"a": torch.float32, "b": torch.bfloat16, "c": torch.float16}
    return {key: tensor.to(kinds[key]) for key, tensor in floats.items()} | {"d": torch.from_numpy(VALUES["d"])}


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin", "weights.pth"])
def test_shapes_dtypes_and_values(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(VALUES, path)
    else:
        torch.save(torch_tensors(), path)
    found = {tensor.key: tensor for tensor in stored_tensors(path)}
    assert found.keys() == VALUES.keys()
    for key, value in VALUES.items():
        assert found[key].shape == value.shape and found[key].dtype == DTYPES.get(key, found["d"].dtype)
        np.testing.assert_array_equal(found[key].read(), value)
        assert found[key].read().dtype == value.dtype


def test_a_torch_file_is_mapped_anew_so_that_its_pages_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torch_tensors(), tmp_path / "weights.bin")
    tensors = stored_tensors(tmp_path / "weights.bin")
    loads = []
    load = tensor_files._load
    monkeypatch.setattr(tensor_files, "_load", lambda path: loads.append(path) or load(path))
    monkeypatch.setattr(tensor_files, "MAPPED_BYTES", 16)
    values = {tensor.key: tensor.read() for tensor in tensors}
    assert loads
    np.testing.assert_array_equal(values["a"], VALUES["a"])  # still there although its file is no longer mapped


@pytest.mark.parametrize("wrapper", [None, "module", "model", "state_dict"])
def test_the_state_dict_inside_a_training_checkpoint(tmp_path: Path, wrapper: str | None) -> None:
    save_torch({"a": VALUES["a"]}, tmp_path / "weights.pth", wrapper)
    assert [tensor.key for tensor in stored_tensors(tmp_path / "weights.pth")] == ["a"]


def test_views_are_read_as_what_they_show(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(6.0).reshape(2, 3).T}, tmp_path / "weights.bin")
    np.testing.assert_array_equal(stored_tensors(tmp_path / "weights.bin")[0].read(), np.arange(6.0).reshape(2, 3).T)


def _header(path: Path, entries: object, data: bytes = b"") -> None:
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _entry(shape: list[int], start: int, stop: int) -> dict:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


HOSTILE_SAFETENSORS = {
    "empty": lambda path: path.write_bytes(b""),
    "not a header": lambda path: path.write_bytes(b"\xff" * 40),
    "header as large as memory": lambda path: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
    "header longer than the file": lambda path: path.write_bytes(struct.pack("<Q", 1000) + b"{}"),
    "truncated data": lambda path: _header(path, {"a": _entry([8], 0, 32)}, bytes(16)),
    "more elements than exist": lambda path: _header(path, {"a": _entry([2**40, 2**40], 0, 16)}, bytes(16)),
    "sizes that overflow": lambda path: _header(path, {"a": _entry([2**63, 2], 0, 0)}),
    "tensors that overlap": lambda path: _header(path, {"a": _entry([4], 0, 16), "b": _entry([4], 8, 24)}, bytes(24)),
    "an unknown dtype": lambda path: _header(path, {"a": {"dtype": "EVIL", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "a list": lambda path: _header(path, [1, 2]),
    "not text": lambda path: path.write_bytes(struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc"),
}


@pytest.mark.parametrize("damage", HOSTILE_SAFETENSORS.values(), ids=HOSTILE_SAFETENSORS)
def test_hostile_safetensors_are_refused(tmp_path: Path, damage) -> None:
    damage(tmp_path / "model.safetensors")
    assert "not a readable safetensors file" in refused(tmp_path / "model.safetensors")


class _Code:
    """What a pickle with code is made of; it leaves a file behind if anything runs it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (os.mkdir, (str(self.proof),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": _Code(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    assert "could run code" in refused(tmp_path / "pytorch_model.bin")
    assert not (tmp_path / "ran").exists()


def _torch_file(path: Path, content: object, **options: bool) -> None:
    torch.save(content, path, **options)


def _truncated(path: Path) -> None:
    torch.save({"a": torch.ones(100_000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def _view_beyond_its_storage(path: Path) -> None:
    torch.save({"a": torch.ones(8)}, path)
    path.write_bytes(path.read_bytes().replace(b"K\x08\x85", b"K\x7f\x85"))  # the shape (8,) becomes (127,)


HOSTILE_TORCH = {
    "empty": (lambda path: path.write_bytes(b""), "not in the format"),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 20), "not in the format"),
    "truncated": (_truncated, "not a readable torch file"),
    "view beyond its storage": (_view_beyond_its_storage, "not a readable torch file"),
    "old format": (
        lambda path: _torch_file(path, {"a": torch.ones(2)}, _use_new_zipfile_serialization=False),
        "not in the format that torch writes since 1.6",
    ),
    "a list": (lambda path: _torch_file(path, [torch.ones(2)]), "no state dict"),
    "nothing": (lambda path: _torch_file(path, {}), "no state dict"),
    "not only tensors": (lambda path: _torch_file(path, {"a": torch.ones(2), "lr": 0.1}), "'lr', which is not a plain tensor"),
    "sparse": (lambda path: _torch_file(path, {"a": torch.ones(2, 2).to_sparse()}), "'a', which is not a plain tensor"),
}


@pytest.mark.parametrize(("damage", "message"), HOSTILE_TORCH.values(), ids=HOSTILE_TORCH)
def test_hostile_torch_files_are_refused(tmp_path: Path, damage, message: str) -> None:
    damage(tmp_path / "pytorch_model.bin")
    assert message in refused(tmp_path / "pytorch_model.bin")


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.bin")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert "pvchat_jax[torch]" in refused(tmp_path / "weights.bin")


def test_shards_with_an_index_decide_over_other_files(tmp_path: Path) -> None:
    save_shards({"a": VALUES["a"], "c": VALUES["c"]}, tmp_path)
    save_file({"other": VALUES["a"]}, tmp_path / "consolidated.safetensors")
    assert sorted(tensor.key for tensor in source_tensors(tmp_path)) == ["a", "c"]


def test_shards_of_torch_files_with_an_index(tmp_path: Path) -> None:
    for key in ("a", "c"):
        save_torch({key: VALUES[key]}, tmp_path / f"pytorch_model-{key}.bin")
    names = {key: f"pytorch_model-{key}.bin" for key in ("a", "c")}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    assert sorted(tensor.key for tensor in source_tensors(tmp_path)) == ["a", "c"]


def test_several_files_without_an_index(tmp_path: Path) -> None:
    save_file({"a": VALUES["a"]}, tmp_path / "1.safetensors")
    save_file({"c": VALUES["c"]}, tmp_path / "2.safetensors")
    assert sorted(tensor.key for tensor in source_tensors(tmp_path)) == ["a", "c"]
    save_file({"c": VALUES["c"]}, tmp_path / "3.safetensors")
    assert "2.safetensors and" in refused(tmp_path) and "both hold 'c'" in refused(tmp_path)


def test_what_pvchat_saves_beside_its_weights_is_not_read(tmp_path: Path) -> None:
    save_torch({"a": VALUES["a"]}, tmp_path / "pytorch_model.bin")
    torch.save({"optimizer": {}, "lr": 0.1}, tmp_path / "training_info.bin")
    assert [tensor.key for tensor in source_tensors(tmp_path)] == ["a"]


def _index(folder: Path, content: object) -> None:
    (folder / "model.safetensors.index.json").write_text(content if isinstance(content, str) else json.dumps(content))


HOSTILE_FOLDERS = {
    "nothing in it": (lambda folder: None, "no file of weights"),
    "index is a list": (lambda folder: _index(folder, []), "not an index"),
    "index is no JSON": (lambda folder: _index(folder, "{"), "not an index"),
    "index is bottomless": (lambda folder: _index(folder, "[" * 100_000), "not an index"),
    "index of a number": (lambda folder: _index(folder, {"weight_map": {"a": 3}}), "not an index"),
    "index of nothing": (lambda folder: _index(folder, {"weight_map": {}}), "names no files"),
    "parent folder": (lambda folder: _index(folder, {"weight_map": {"a": "../x.safetensors"}}), "outside its folder"),
    "absolute path": (lambda folder: _index(folder, {"weight_map": {"a": "/etc/passwd"}}), "outside its folder"),
    "the folder itself": (lambda folder: _index(folder, {"weight_map": {"a": ".."}}), "outside its folder"),
    "path of Windows": (lambda folder: _index(folder, {"weight_map": {"a": "..\\x.safetensors"}}), "outside its folder"),
    "no such shard": (lambda folder: _index(folder, {"weight_map": {"a": "x.safetensors"}}), "lacks x.safetensors"),
}


@pytest.mark.parametrize(("damage", "message"), HOSTILE_FOLDERS.values(), ids=HOSTILE_FOLDERS)
def test_hostile_folders_are_refused(tmp_path: Path, damage, message: str) -> None:
    damage(tmp_path)
    assert message in refused(tmp_path)


def test_a_huge_index_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.sources.MAX_INDEX_BYTES", 10)
    save_shards({"a": VALUES["a"]}, tmp_path)
    assert "larger than any index" in refused(tmp_path)


def test_an_index_that_names_other_tensors_is_refused(tmp_path: Path) -> None:
    save_shards({"a": VALUES["a"], "c": VALUES["c"]}, tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace('"c"', '"z"'))
    assert "says that 'z' is in" in refused(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    save_file({"a": VALUES["a"]}, tmp_path / "elsewhere.safetensors")
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    assert "is a link to" in refused(folder)


def test_the_links_of_the_hub_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    save_file({"a": VALUES["a"]}, blobs / "abc")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    assert [tensor.key for tensor in source_tensors(snapshot)] == ["a"]


@pytest.mark.parametrize(("name", "message"), [("weights.ckpt", "ends in none of"), ("missing", "there is nothing at")])
def test_other_paths_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "weights.ckpt").write_bytes(b"")
    assert message in refused(tmp_path / name)
