"""The directory that is written slice by slice is one that Orbax, and training, read exactly."""

import hashlib
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import unflatten_dict

from converters import streaming
from converters.streaming import write_parameter, write_tree_metadata
from pvchat_jax.training.weights import read_weights

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
RANDOM = np.random.default_rng(0)
PARAMS = {
    "blocks/mlp/kernel": RANDOM.normal(size=(4, 16, 6)).astype(np.float32),
    "blocks/norm/scale": RANDOM.normal(size=(4, 8)).astype(np.float32),
    "embed": RANDOM.normal(size=(26, 5)).astype(np.float32),
    "bias": RANDOM.normal(size=(7,)).astype(np.float32),
    "cls_token": RANDOM.normal(size=(1, 1, 8)).astype(np.float32),
    "zeros": np.zeros((3, 2), np.float32),  # which Orbax does not write by default, as they equal what is read from no file
}


def write(directory: Path, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Writes `PARAMS` and returns them as they should be read."""
    for path, value in PARAMS.items():
        stacked = path.startswith("blocks/")
        slices = [lambda part=part: part for part in value] if stacked else [lambda value=value: value]
        write_parameter(directory, path, value.shape, dtype, slices, stacked=stacked, written=lambda _: None)
    write_tree_metadata(directory, PARAMS)
    return {path: value.astype(dtype) for path, value in PARAMS.items()}


@pytest.fixture(params=[32 * 2**20, 64], ids=["one chunk a slice", "several chunks a slice"])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MAX_CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=str)
def test_orbax_restores_every_bit_and_knows_shapes_and_dtypes(tmp_path: Path, dtype: np.dtype) -> None:
    expected = unflatten_dict(write(tmp_path / "weights", dtype), sep="/")
    with ocp.PyTreeCheckpointer() as reader:
        restored = reader.restore(tmp_path / "weights")
        metadata = reader.metadata(tmp_path / "weights").item_metadata.tree
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    jax.tree.map(
        lambda leaf, value: (tuple(leaf.shape), leaf.dtype) == (value.shape, value.dtype) or pytest.fail(str(leaf)), metadata, expected
    )
    assert jax.tree.structure(restored) == jax.tree.structure(expected)


@pytest.mark.usefixtures("_chunks")
def test_training_reads_some_of_it_into_shards(tmp_path: Path) -> None:
    expected = write(tmp_path / "weights", BFLOAT16)
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    specs = {"blocks/mlp/kernel": jax.P(None, "data", "model"), "blocks/norm/scale": jax.P(None, "model"), "bias": jax.P()}
    like = {
        path: jax.ShapeDtypeStruct(expected[path].shape, np.float32, sharding=jax.sharding.NamedSharding(mesh, spec))
        for path, spec in specs.items()
    }
    like["absent"] = jax.ShapeDtypeStruct((3,), np.float32, sharding=jax.sharding.NamedSharding(mesh, jax.P()))
    read, missing = read_weights(tmp_path / "weights", like, like.keys())
    assert read.keys() == specs.keys() and missing.keys() == {"absent"}
    for path, array in read.items():
        assert array.sharding == like[path].sharding
        np.testing.assert_array_equal(array, expected[path].astype(np.float32))


def test_a_shard_of_a_large_parameter_reads_its_own_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks divide a slice along the axis that shards divide."""
    monkeypatch.setattr(streaming, "MAX_CHUNK_BYTES", 100)
    write(tmp_path, np.dtype(np.float32))
    names = sorted(file.name for file in (tmp_path / "blocks.mlp.kernel").iterdir() if file.name != ".zarray")
    assert names == sorted(f"{layer}.{rows}.0" for layer in range(4) for rows in range(4))


@pytest.mark.usefixtures("_chunks")
def test_writing_goes_on_where_it_stopped_with_the_same_digest(tmp_path: Path) -> None:
    value = PARAMS["blocks/mlp/kernel"]
    options = {"stacked": True, "written": lambda _: None}

    def stops() -> np.ndarray:
        raise KeyboardInterrupt

    asked: list[int] = []

    def slices(broken: int | None):
        for index, part in enumerate(value):
            yield stops if index == broken else lambda index=index, part=part: asked.append(index) or part

    with pytest.raises(KeyboardInterrupt):
        write_parameter(tmp_path / "a", "kernel", value.shape, BFLOAT16, slices(2), **options)
    (tmp_path / "a" / "kernel" / "0.0.0").write_bytes(b"cut")  # a chunk that is shorter than it should be does not count
    digest = write_parameter(tmp_path / "a", "kernel", value.shape, BFLOAT16, slices(None), **options)
    assert asked == [0, 1, 0, 2, 3]
    asked.clear()
    assert write_parameter(tmp_path / "a", "kernel", value.shape, BFLOAT16, slices(None), **options) == digest and not asked
    assert digest == hashlib.sha256(value.astype(BFLOAT16).tobytes()).hexdigest()


def test_a_chunk_that_is_being_written_has_no_name_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        streaming._write_chunk(tmp_path / "0.0", b"data")
    assert not (tmp_path / "0.0").exists()
