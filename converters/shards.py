"""Tensors into a directory of safetensors files of bounded size, with the index that `transformers` reads."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from safetensors.numpy import save_file

SHARD_BYTES = 10**9


def cast(tensors: Iterable[tuple[str, np.ndarray]], dtype: np.dtype) -> Iterable[tuple[str, np.ndarray]]:
    """The tensors one after the other in `dtype`; integers stay what they are."""
    for name, tensor in tensors:
        yield name, tensor if np.issubdtype(tensor.dtype, np.integer) else tensor.astype(dtype)


def write_shards(
    directory: Path, tensors: Iterable[tuple[str, np.ndarray]], *, total_bytes: int, console: Console, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes `model.safetensors`, or `model-00001-of-0000N.safetensors`, ... and `model.safetensors.index.json`.

    Memory holds the tensors of one shard at a time.

    Args:
      directory: exists already.
      tensors: names and values, each name once.
      total_bytes: of all tensors, for the progress bar.
      shard_bytes: a shard has at most this many bytes of tensors, or one larger tensor.
    """
    shards: list[tuple[Path, list[str]]] = []
    pending: dict[str, np.ndarray] = {}
    written = 0

    def flush() -> None:
        path = directory / f"part-{len(shards)}"
        save_file(pending, path, metadata={"format": "pt"})  # transformers refuses files that do not say so
        shards.append((path, list(pending)))
        bar.update(task, completed=written)
        pending.clear()

    columns = (TextColumn("writing"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total_bytes)
        held = 0
        for name, tensor in tensors:
            if pending and held + tensor.nbytes > shard_bytes:
                flush()
                held = 0
            # ascontiguousarray would give scalars an axis
            pending[name] = tensor if tensor.flags.c_contiguous else tensor.copy(order="C")
            held += tensor.nbytes
            written += tensor.nbytes
        flush()
    _name_shards(directory, shards, written)


def _name_shards(directory: Path, shards: list[tuple[Path, list[str]]], total_bytes: int) -> None:
    """Gives the parts their final names, which say how many there are, and writes the index if there are several."""
    if len(shards) == 1:
        shards[0][0].rename(directory / "model.safetensors")
        return
    weight_map: Mapping[str, str] = {}
    for number, (path, names) in enumerate(shards, start=1):
        shard = path.rename(directory / f"model-{number:05}-of-{len(shards):05}.safetensors")
        weight_map |= dict.fromkeys(names, shard.name)
    index = {"metadata": {"total_size": total_bytes}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
