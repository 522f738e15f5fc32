"""A checkpoint that Orbax restores, written slice by slice, so that no parameter is ever whole in memory.

Orbax's PyTreeCheckpointer reads this directory layout (`use_ocdbt: false` in its `_METADATA`): each parameter is a Zarr (version 2)
array in a folder named like its path with dots, whose chunks are files of raw bytes. A chunk file gets its name when it is complete
and on the disk, so a conversion that was interrupted goes on with the chunks that are not there yet.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from pvchat_jax.files import write_atomically

# Small enough to be cast and written beside a whole source tensor, and for hosts that restore a shard to read little else.
MAX_CHUNK_BYTES = 32 * 2**20
STRIPE = 128

Shape = tuple[int, ...]


def write_parameter(
    directory: Path,
    path: str,
    shape: Shape,
    dtype: np.dtype,
    slices: Iterable[Callable[[], np.ndarray]],
    *,
    stacked: bool,
    written: Callable[[int], None],
) -> str:
    """Writes one parameter, or what is missing of it.

    Args:
      directory: the checkpoint's.
      path: of the parameter, `/`-joined.
      slices: a function for each index of the first axis that returns its values (of any float dtype) if `stacked`, else one for
        the whole; called only for what is not written yet.
      written: called with the bytes that became complete.

    Returns:
      sha256, in hexadecimal, of the parameter's bytes in C order.
    """
    folder = directory / path.replace("/", ".")
    chunk = _chunk_shape(shape, dtype.itemsize, stacked)
    _write_array_metadata(folder, shape, chunk, dtype)
    rows, num_bytes = chunk[int(stacked)], math.prod(chunk) * dtype.itemsize
    digest = hashlib.sha256()
    for index, read in enumerate(slices):
        files = [folder / name for name in _chunk_names(shape, chunk, index if stacked else None)]
        values = None if all(_is_complete(file, num_bytes) for file in files) else read()
        for number, file in enumerate(files):
            if values is None:
                data = file.read_bytes()
            else:
                data = _in_order(values[number * rows : (number + 1) * rows], dtype).reshape(-1).view(np.uint8).data
                _write_chunk(file, data)
            digest.update(data)
            written(num_bytes)
        values = data = None  # or the next slice would be read beside this one
    return digest.hexdigest()


def write_tree_metadata(directory: Path, paths: Iterable[str]) -> None:
    """Writes what makes Orbax see a checkpoint in `directory`, with the parameters `paths`."""
    tree = {}
    for keys in (tuple(path.split("/")) for path in paths):
        tree[str(keys)] = {
            "key_metadata": [{"key": key, "key_type": 2} for key in keys],  # 2: a key of a dict
            "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False},
        }
    write_atomically(directory / "_METADATA", json.dumps({"tree_metadata": tree, "use_ocdbt": False, "use_zarr3": False}))
    handler = "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler"
    write_atomically(directory / "_CHECKPOINT_METADATA", json.dumps({"item_handlers": handler}))


def _chunk_shape(shape: Shape, itemsize: int, stacked: bool) -> Shape:
    """One slice of a stacked parameter, divided along its next axis into the fewest equal chunks that are small enough."""
    leading, sliced = ((1,), shape[1:]) if stacked else ((), shape)
    row_bytes = math.prod(sliced[1:]) * itemsize
    counts = (count for count in range(1, sliced[0] + 1) if sliced[0] % count == 0)
    count = next((count for count in counts if sliced[0] // count * row_bytes <= MAX_CHUNK_BYTES), sliced[0])
    return (*leading, sliced[0] // count, *sliced[1:])


def _chunk_names(shape: Shape, chunk: Shape, index: int | None) -> Iterator[str]:
    """Names of the chunks of a slice (of the whole where `index` is None) in C order: their places along each axis, with dots."""
    axis = 0 if index is None else 1
    leading = () if index is None else (index,)
    for number in range(shape[axis] // chunk[axis]):
        yield ".".join(map(str, (*leading, number, *(0 for _ in shape[axis + 1 :]))))


def _write_array_metadata(folder: Path, shape: Shape, chunk: Shape, dtype: np.dtype) -> None:
    metadata = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunk,
        "dtype": dtype.str if dtype.isbuiltin == 1 else dtype.name,  # numpy spells bfloat16 as plain bytes
        "order": "C",
        "compressor": None,
        "filters": None,
        "fill_value": None,
        "dimension_separator": ".",
    }
    write_atomically(folder / ".zarray", json.dumps(metadata))


def _is_complete(file: Path, num_bytes: int) -> bool:
    return file.is_file() and file.stat().st_size == num_bytes


def _in_order(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`values` cast and in C order; in stripes, because numpy copies a transposed matrix several times slower in one go."""
    ordered = np.empty(values.shape, dtype)
    for start in range(0, values.shape[-1], STRIPE):
        ordered[..., start : start + STRIPE] = values[..., start : start + STRIPE]
    return ordered


def _write_chunk(file: Path, data: bytes | memoryview) -> None:
    temporary = file.with_name(f".{file.name}.tmp")  # one name, so that nothing is left behind when it is written again
    with open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)
