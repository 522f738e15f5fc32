"""Which files of a folder are the weights, and that an index leads nowhere else."""

import json
from pathlib import Path

from converters.tensor_files import SAFETENSORS_SUFFIX, TORCH_SUFFIXES, StoredTensor, stored_tensors
from pvchat_jax.errors import UserError

INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
TORCH_FILE = "pytorch_model.bin"
MAX_INDEX_BYTES = 64 * 2**20


def source_tensors(source: Path) -> list[StoredTensor]:
    """Every tensor of a file, or of the weights in a folder, unread.

    In a folder an index decides; without one all safetensors files count, then `pytorch_model.bin`, then every torch file.

    Raises:
      UserError: nothing is there, a file is missing, damaged or outside the folder, or two files have a tensor of one name.
    """
    if source.is_file():
        return stored_tensors(source)
    if not source.is_dir():
        raise UserError(f"there is nothing at {source}; give the folder or the file of the original weights.")
    index = next((source / name for name in INDEX_FILES if (source / name).is_file()), None)
    weight_map = _weight_map(index) if index else {}
    files = [source / name for name in sorted(set(weight_map.values()))] if index else _unindexed(source)
    found: dict[str, StoredTensor] = {}
    for file in files:
        refuse_escape(source, file)
        if not file.is_file():
            raise UserError(f"{source} lacks {file.name}, which its index names; fetch it again.")
        for tensor in stored_tensors(file):
            if tensor.key in found:
                raise UserError(f"{found[tensor.key].file} and {file} both hold {tensor.key!r}; give the one file that you mean.")
            found[tensor.key] = tensor
    for key, name in weight_map.items():
        if key not in found or found[key].file.name != name:
            raise UserError(f"{index} says that {key!r} is in {name}, which is not so; fetch the folder again.")
    return list(found.values())


def refuse_escape(folder: Path, file: Path) -> None:
    """Raises UserError if `file` in `folder` is a link to somewhere else.

    The cache of the Hugging Face hub, where files are links into the `blobs` folder of the same model, is no escape.
    """
    home = folder.resolve()
    blobs = [home.parent.parent / "blobs"] if home.parent.name == "snapshots" else []
    target = file.resolve()
    if not any(target.is_relative_to(allowed) for allowed in (home, *blobs)):
        raise UserError(f"{file} is a link to {target}, which is outside its folder; do not trust this download, or copy the file here.")


def _unindexed(folder: Path) -> list[Path]:
    torch_files = [file for suffix in TORCH_SUFFIXES for file in sorted(folder.glob(f"*{suffix}"))]
    single = [folder / TORCH_FILE] if folder / TORCH_FILE in torch_files else []
    files = sorted(folder.glob(f"*{SAFETENSORS_SUFFIX}")) or single or torch_files
    if not files:
        known = ", ".join((SAFETENSORS_SUFFIX, *TORCH_SUFFIXES))
        raise UserError(f"there is no file of weights in {folder} (it would end in {known}); give the folder of the original weights.")
    return files


def _weight_map(index: Path) -> dict[str, str]:
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise UserError(f"{index} is larger than any index of weights; do not trust this download.")
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = set(weight_map.values())
        outside = sorted(name for name in names if Path(name).name != name or "\\" in name or "\0" in name)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{index} is not an index of weights; fetch it again.") from error
    if not names:
        raise UserError(f"{index} names no files; fetch it again.")
    if outside:
        raise UserError(f"{index} names {outside[0]!r}, which is outside its folder; do not trust this download.")
    return weight_map
