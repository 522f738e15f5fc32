"""Tensors out of one file, safetensors or torch, each read when it is asked for and never two at a time.

A file from elsewhere is not trusted: nothing in it is executed, and no size it states is believed before it was compared with
what is expected, which is why `StoredTensor` gives the shape without reading.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from pvchat_jax.errors import UserError

SAFETENSORS_SUFFIX = ".safetensors"
TORCH_SUFFIXES = (".bin", ".pt", ".pth")
FLOATS = ("F64", "F32", "F16", "BF16")
# Files that training frameworks save hold the state dict under one of these.
WRAPPERS = ("module", "model", "state_dict")
# Pages of a mapped file count as memory of this process while it stays mapped.
MAPPED_BYTES = 256 * 2**20


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
      key: its name there.
      shape, dtype: as the file states them; the dtype in the spelling of safetensors, such as `BF16`.
      file: where it is.
      read: returns its values, an array of its own.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    read: Callable[[], np.ndarray]


def stored_tensors(path: Path) -> list[StoredTensor]:
    """The tensors of a file, unread.

    Raises:
      UserError: the file is of no known kind, damaged, or holds more than tensors.
    """
    if path.suffix == SAFETENSORS_SUFFIX:
        return _safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return _TorchFile(path).tensors()
    known = ", ".join((SAFETENSORS_SUFFIX, *TORCH_SUFFIXES))
    raise UserError(f"{path} ends in none of {known}; give a file of weights, or the folder that holds them.")


def _safetensors(path: Path) -> list[StoredTensor]:
    def read(key: str) -> np.ndarray:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.get_tensor(key)

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  a file is no mapping
            return [
                StoredTensor(key, tuple(part.get_shape()), part.get_dtype(), path, lambda key=key: read(key))
                for key, part in slices.items()
            ]
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({_first_line(error)}); fetch it again.") from error


class _TorchFile:
    """A file of `torch.save`, mapped into memory; the mapping is renewed before it counts for much."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: Mapping[str, Any] | None = None
        self._bytes_read = 0

    def tensors(self) -> list[StoredTensor]:
        torch = _import_torch(self._path)
        names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
        return [
            StoredTensor(key, tuple(tensor.shape), names.get(tensor.dtype, str(tensor.dtype)), self._path, lambda key=key: self._read(key))
            for key, tensor in self._state_dict().items()
        ]

    def _read(self, key: str) -> np.ndarray:
        torch = _import_torch(self._path)
        if self._bytes_read > MAPPED_BYTES:
            self._loaded, self._bytes_read = None, 0
        tensor = self._state_dict()[key].contiguous()
        self._bytes_read += tensor.nbytes
        if tensor.dtype == torch.bfloat16:  # which numpy itself does not know
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
        return tensor.numpy().copy()

    def _state_dict(self) -> Mapping[str, Any]:
        if self._loaded is None:
            self._loaded = _load(self._path)
        return self._loaded


def _load(path: Path) -> dict[str, Any]:
    torch = _import_torch(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({_first_line(error)}).") from error
    except Exception as error:  # A damaged or hostile file makes torch raise almost anything.
        if type(error).__name__ == "UnpicklingError":
            reason = "holds something other than tensors, which could run code; do not trust it, or save its state dict alone"
        elif "mmap can only be used" in str(error):
            reason = "is not in the format that torch writes since 1.6; fetch it again, or load it with torch and save it again"
        else:
            reason = f"is not a readable torch file ({_first_line(error)}); fetch it again"
        raise UserError(f"{path} {reason}.") from error
    if isinstance(loaded, dict):
        loaded = next((loaded[name] for name in WRAPPERS if isinstance(loaded.get(name), dict)), loaded)
    if not isinstance(loaded, dict) or not loaded:
        raise UserError(f"{path} holds no state dict; give a file that torch.save(model.state_dict(), ...) wrote.")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise UserError(f"{path} holds {key!r}, which is not a plain tensor; save the model's state dict alone.")
    return loaded


def _import_torch(path: Path) -> Any:
    try:
        import torch  # heavy, and needed for these files alone
    except ImportError as error:
        raise UserError(f"reading {path} needs PyTorch; install it with pip install 'pvchat_jax[torch]'.") from error
    return torch


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
