"""Loads the pipelines of diffusers from local folders and from nowhere else; the one file of the package that imports torch."""

import dataclasses
import hashlib
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvchat_jax.errors import UserError

DTYPES = ("auto", "bfloat16", "float16", "float32")
OFFLOADS = ("none", "model", "sequential")
_EXTRA = "pip install 'pvchat_jax[synthesis]'"
_NEEDED = ("torch", "diffusers", "transformers", "accelerate", "ftfy")  # without ftfy the Wan pipelines die of a NameError
_SAMPLE_BYTES = 1 << 20  # of each end of a file of weights, for its fingerprint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a pipeline computes, and how it saves memory.

    Attributes:
      device: `auto` (the first GPU, or the CPU where there is none), or a name of PyTorch's such as `cuda:1`.
      dtype: of weights and activations; `auto` is bfloat16 on a GPU and float32 on a CPU.
      offload: `none` keeps everything on the GPU, `model` moves one model there at a time, `sequential` one layer at a time, which is
        slow. Published figures for ConsisID: 37, 22 and 5 GB; Wan 14B needs 35 GB or more even with `model`.
      tile_vae: whether videos are decoded tile by tile, which saves memory and may leave faint seams.
    """

    device: str = "auto"
    dtype: str = "auto"
    offload: str = "none"
    tile_vae: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or self.offload not in OFFLOADS:
            raise ValueError(f"dtype '{self.dtype}' is not one of {DTYPES}, or offload '{self.offload}' not one of {OFFLOADS}")


def load_pipeline(directory: Path, class_name: str, placement: Placement, *, float32_vae: bool) -> Any:
    """The pipeline that `save_pretrained` wrote into a folder, ready to be called.

    Args:
      class_name: the class of diffusers that it must be of.
      float32_vae: whether the VAE stays in float32 whatever the dtype, as Wan's must.

    Raises:
      UserError: a library is missing, the folder is not such a pipeline, or the machine has no such device.
    """
    check_folder(directory, class_name)
    diffusers, torch = _import_libraries()
    device = _device(torch, placement)
    name = placement.dtype if placement.dtype != "auto" else ("float32" if device == "cpu" else "bfloat16")
    dtype = getattr(torch, name)
    try:
        pipeline = getattr(diffusers, class_name).from_pretrained(
            str(directory),
            dtype={"default": dtype, "vae": torch.float32} if float32_vae else dtype,
            local_files_only=True,
            use_safetensors=True,  # anything else is a pickle
        )
    except (
        OSError,
        ValueError,
        RuntimeError,
        ImportError,
        AttributeError,
        KeyError,
        TypeError,
    ) as error:  # whatever a broken file leads to
        raise UserError(f"{directory} cannot be loaded as a {class_name} ({first_line(error)}); copy the folder again.") from error
    pipeline.set_progress_bar_config(disable=True)
    if placement.tile_vae:
        pipeline.vae.enable_tiling()
    if placement.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif placement.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


def check_folder(directory: Path, class_name: str) -> None:
    """Looks at a folder before diffusers does, which takes one that is missing for the name of a model to download.

    Raises:
      UserError: the folder, its `model_index.json` or one of the parts that it lists is missing, or it is of another class.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is no folder; copy a {class_name} there, as diffusers' save_pretrained writes it.")
    index = directory / "model_index.json"
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        found = content["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{index} is missing or broken; copy the whole folder of a {class_name} to {directory}.") from None
    if found != class_name:
        raise UserError(f"{index} describes a {found}, but a {class_name} is needed; copy the folder of one to {directory}.")
    parts = [name for name, value in content.items() if isinstance(value, list) and len(value) == 2 and value[1] is not None]
    missing = sorted(name for name in parts if not (directory / name).is_dir())
    if missing:
        raise UserError(f"{directory} has no folder '{missing[0]}', which its model_index.json lists; copy the whole folder again.")
    code = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.py"))
    if code:
        raise UserError(f"{directory} carries Python code ({code[0]}), which is never run; take a model that diffusers has itself.")


def fingerprint(directory: Path) -> str:
    """Twelve hexadecimal digits that tell models apart: from the names and sizes of all files, all JSON, and both ends of the weights.

    Hashing all of it would read up to 80 GB.
    """
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(directory).as_posix()}\0{size}\0".encode())
        with open(path, "rb") as file:
            if path.suffix == ".json" or size <= 2 * _SAMPLE_BYTES:
                digest.update(file.read())
            else:
                digest.update(file.read(_SAMPLE_BYTES))
                file.seek(-_SAMPLE_BYTES, os.SEEK_END)
                digest.update(file.read())
    return digest.hexdigest()[:12]


def noise_generators(seeds: Sequence[int]) -> Any:
    """What a pipeline draws its noise from: one generator of PyTorch, or a list for more than one seed.

    They draw on the CPU whatever the device, so that a seed means the same noise everywhere.
    """
    import torch

    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    return generators[0] if len(generators) == 1 else generators


def tensor_for(pipeline: Any, array: np.ndarray, dtype: Any) -> Any:
    """`array` as a tensor where the pipeline computes. `dtype`: of PyTorch."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(device=pipeline._execution_device, dtype=dtype)


def library_version() -> str:
    """Of diffusers.

    Raises:
      UserError: a library is missing.
    """
    return _import_libraries()[0].__version__


def first_line(error: Exception) -> str:
    """The type of an error and the first line of its message, to stand in a sentence."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"[:300]


def _import_libraries() -> tuple[Any, Any]:
    """diffusers and torch, with downloads forbidden and notes about optional parts silenced."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"generators of diffusers need {', '.join(missing)}; install the extra (for example: {_EXTRA}).")
    os.environ["HF_HUB_OFFLINE"] = "1"
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = True  # where the hub was imported before, for a tokenizer say, it has read the variable
    import transformers

    transformers.utils.logging.set_verbosity_error()
    import diffusers
    import torch

    diffusers.utils.logging.set_verbosity_error()
    return diffusers, torch


def _device(torch: Any, placement: Placement) -> str:
    device = placement.device if placement.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device '{device}' was asked for, but PyTorch finds no GPU here; set device to auto, or install PyTorch for CUDA.")
    if device == "cpu" and placement.offload != "none":
        raise UserError(f"offload '{placement.offload}' moves models to a GPU, and there is none here; set offload to none.")
    return device
