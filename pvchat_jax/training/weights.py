"""Weights that a run starts from: a folder that the converters made, or one with a safetensors file such as the packaged tiny base.

The tensors of `model.safetensors` have the names of the model's parameters, joined by `/`.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import safetensors
from flax.traverse_util import flatten_dict, unflatten_dict

from pvchat_jax.config.inputs import PACKAGED_BASE, PACKAGED_BASE_DIRECTORY
from pvchat_jax.errors import UserError
from pvchat_jax.training.frozen_storage import portions, read_like, store

SAFETENSORS_FILE = "model.safetensors"
REPORT_FILE = "weights.json"  # the converters write it last and put a fingerprint of all tensors into it

Abstract = dict[str, Any]  # shape, dtype and sharding by name, as of `frozen_storage.stored_like`


def weights_directory(weights: str) -> Path:
    """The folder that `TrainConfig.weights` names; `tiny` is the one in the package."""
    return PACKAGED_BASE_DIRECTORY if weights == PACKAGED_BASE else Path(weights)


def weights_fingerprint(directory: Path) -> str:
    """What tells these weights from all others: of converted weights the one in weights.json, else the SHA-256 of model.safetensors.

    Raises:
      UserError: there are no weights, or they were converted before fingerprints existed.
    """
    tensors, report = directory / SAFETENSORS_FILE, directory / REPORT_FILE
    if tensors.is_file():
        with tensors.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    try:
        return str(json.loads(report.read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{report} gives no fingerprint of the weights ({type(error).__name__}); give complete weights with --config.weights, "
            "or convert them again with python -m converters.from_torch."
        ) from error


def read_weights(directory: Path, like: Abstract, names: Collection[str]) -> tuple[dict[str, jax.Array], Abstract]:
    """Reads the named parameters from a directory of weights, straight into their shards.

    Returns:
      Those of `names` that the directory has, stored as `like` says, and the part of `like` that it lacks.

    Raises:
      UserError: the directory holds no weights, or a tensor has another shape.
    """
    if (directory / SAFETENSORS_FILE).is_file():
        return read_safetensors(directory / SAFETENSORS_FILE, like, names)
    with ocp.PyTreeCheckpointer() as reader:
        try:
            saved = flatten_dict(reader.metadata(directory.absolute()).item_metadata.tree, sep="/")
        except Exception as error:  # Orbax has many ways to say that these are not its files.
            raise UserError(
                f"{directory} holds no converted weights ({type(error).__name__}); make them with python -m converters.from_torch."
            ) from error
    _check_shapes(directory, {name: tuple(leaf.shape) for name, leaf in saved.items()}, like)
    present = {name: leaf for name, leaf in like.items() if name in saved and name in names}
    floats = read_like(present)
    largest = max(
        (math.prod(leaf.shape) * max(leaf.dtype.itemsize, saved[name].dtype.itemsize) for name, leaf in floats.items()), default=0
    )
    read = {}
    for portion in portions(present):
        restored = _restore(directory, {name: floats[name] for name in portion}, largest)
        read |= {name: store(restored.pop(name), present[name]) for name in portion}
    return read, {name: leaf for name, leaf in like.items() if name not in saved}


def _restore(directory: Path, wanted: Abstract, largest: int) -> dict[str, jax.Array]:
    """The `wanted` tensors of converted weights, of which none has more than `largest` bytes."""
    tree = unflatten_dict(wanted, sep="/")
    arguments = ocp.args.PyTreeRestore(tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree), partial_restore=True)
    # Without a limit Orbax reads everything at once, and the host holds all weights twice. It must be above the largest tensor.
    handler = ocp.PyTreeCheckpointHandler(restore_concurrent_gb=largest // 10**9 + 1)
    with ocp.Checkpointer(handler) as reader:
        return flatten_dict(reader.restore(directory.absolute(), args=arguments), sep="/")


def read_tensors(directory: Path, prefixes: tuple[str, ...], name: str = SAFETENSORS_FILE) -> dict[str, Any]:
    """Tensors of a folder with a safetensors file whose names begin with one of `prefixes`, as a nested dict of float32.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """
    path = directory / name
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118  a file is no mapping
            found = {name: file.get_tensor(name).astype(np.float32) for name in names}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}); make a base with python -m pvchat_jax.pretrain.") from error
    return unflatten_dict(found, sep="/")


def read_safetensors(path: Path, like: Abstract, names: Collection[str]) -> tuple[dict[str, jax.Array], Abstract]:
    """As `read_weights`, from one file."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            saved = set(file.keys())
            _check_shapes(path, {name: tuple(file.get_slice(name).get_shape()) for name in saved}, like)
            wanted = {name: leaf for name, leaf in like.items() if name in saved and name in names}
            read = {name: store(_read_shards(file.get_slice(name), read_like(leaf)), leaf) for name, leaf in wanted.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}); restore it.") from error
    return read, {name: leaf for name, leaf in like.items() if name not in saved}


def _read_shards(saved: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """The parts of the tensor `saved` in a file that this process's devices hold; the rest is not read."""

    def part(index: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(saved[index]).astype(leaf.dtype)

    return jax.make_array_from_callback(leaf.shape, leaf.sharding, part)


def _check_shapes(source: Path, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> None:
    for name, leaf in like.items():
        if name in shapes and shapes[name] != leaf.shape:
            raise UserError(
                f"{source} is of another model: {name} has shape {shapes[name]} there and {leaf.shape} in this "
                "configuration; give weights of the configured size."
            )
