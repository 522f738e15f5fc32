"""Turns the original's saved weights into a directory that training reads.

    python -m converters.from_torch --src FOLDER_OR_FILE --dst weights/8b [--preset 8b] [--dtype bfloat16]

Reads safetensors, as one file or several with an index, with the key names of a PVChat checkpoint.
Routers and adapters that the checkpoint lacks are left out: training starts those from its seed. Tokenizer
files beside the weights are copied to DST/tokenizer.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import safetensors

from converters.state_dict_mapping import params_from_state_dict
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.models.config import PRESETS

INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}


class SafetensorsSource(Mapping[str, np.ndarray]):
    """Tensors by key from one safetensors file or from the shards of a folder, each read and cast
    to `dtype` when asked for.

    Raises:
      UserError: nothing is there, a shard is missing, or a file is not safetensors.
    """

    def __init__(self, source: Path, dtype: np.dtype) -> None:
        self._dtype = dtype
        self._shard_of: dict[str, Path] = {}
        for shard in _shards(source):
            try:
                with safetensors.safe_open(shard, framework="numpy") as file:
                    self._shard_of |= dict.fromkeys(file.keys(), shard)
            except (safetensors.SafetensorError, OSError) as error:
                raise UserError(f"{shard} is not a readable safetensors file ({error}); fetch it again.") from error

    def __getitem__(self, key: str) -> np.ndarray:
        with safetensors.safe_open(self._shard_of[key], framework="numpy") as file:
            return file.get_tensor(key).astype(self._dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def __len__(self) -> int:
        return len(self._shard_of)


def _shards(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if (source / INDEX_FILE).is_file():
        try:
            names = sorted(set(json.loads((source / INDEX_FILE).read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{source / INDEX_FILE} is not an index of safetensors shards; fetch it again.") from error
        outside = [name for name in names if Path(name).name != name]
        if outside:
            raise UserError(f"{source / INDEX_FILE} names {outside[0]}, which is outside its folder; do not trust this download.")
        missing = [name for name in names if not (source / name).is_file()]
        if missing:
            raise UserError(f"{source} lacks {missing[0]}, which its index names; fetch it again.")
        return [source / name for name in names]
    shards = sorted(source.glob("*.safetensors")) if source.is_dir() else []
    if not shards:
        raise UserError(f"there is no safetensors file at {source}; give the folder or the file of the original weights.")
    return shards


def convert(source: Path, destination: Path, preset: str, dtype: str) -> str:
    """Writes the weights at `source` to `destination` and returns a sentence on what was done.

    The destination appears whole or not at all.

    Raises:
      UserError: the source does not fit the preset, or the destination is taken.
    """
    if destination.exists():
        raise UserError(f"{destination} exists already; remove it or choose another --dst.")
    params, absent = params_from_state_dict(SafetensorsSource(source, np.dtype(DTYPES[dtype])), PRESETS[preset])
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(destination.absolute(), params)
    folder = source if source.is_dir() else source.parent
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if tokenizer:
        (destination / "tokenizer").mkdir()
        for file in tokenizer:
            shutil.copyfile(file, destination / "tokenizer" / file.name)
    left_out = f"; training will initialise {len(absent)} parameters that it lacks, such as {absent[0]}" if absent else ""
    return f"wrote {destination} ({'with' if tokenizer else 'without'} a tokenizer){left_out}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, required=True, help="folder or file with the original's safetensors")
    parser.add_argument("--dst", type=Path, required=True, help="directory to create, such as weights/8b")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="8b", help="sizes of the model (default 8b)")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16", help="how to store it (default bfloat16)")
    arguments = parser.parse_args()
    with exit_on_user_error():
        print(convert(arguments.src, arguments.dst, arguments.preset, arguments.dtype))


if __name__ == "__main__":
    main()
