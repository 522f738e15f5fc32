"""A conversion from the files to a directory of weights: planned whole, streamed, resumed, and moved into place at the end."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from rich.console import Console

from converters.byte_progress import ByteProgress
from converters.plan import COMBINED, Plan, make_plan
from converters.sources import refuse_escape, source_tensors
from converters.streaming import write_parameter, write_tree_metadata
from pvchat_jax.config.flags import to_dict
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.models.config import PVChatConfig

DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
WEIGHTS_FILE = "weights.json"
WEIGHTS_FORMAT = "pvchat_jax weights"
# In the unfinished directory: what it is a conversion of.
JOB_FILE = "conversion.json"
UNFINISHED_SUFFIX = ".partial"


@dataclasses.dataclass(frozen=True)
class Converted:
    """A finished conversion: what was planned and done, whether a tokenizer was beside the language model, and the fingerprint."""

    plan: Plan
    has_tokenizer: bool
    fingerprint: str


def convert(
    sources: Sequence[Path],
    destination: Path,
    config: PVChatConfig,
    dtype: str = "bfloat16",
    parts: Sequence[str] = (COMBINED,),
    console: Console | None = None,
) -> Converted:
    """Writes the weights of `sources`, files or folders, to `destination`.

    The destination appears whole or not at all: until then everything is in a folder beside it, from which the same call goes on
    after an interruption. Its `weights.json`, written last, describes every tensor.

    Args:
      dtype: one of `DTYPES`.
      parts: see `make_plan`.
      console: where progress is shown; None for nowhere.

    Raises:
      UserError: a source is damaged, does not fit the configuration, or changed since the interruption; the destination is taken;
        or the disk is too small.
    """
    if destination.exists():
        raise UserError(f"{destination} exists already; remove it or choose another --dst.")
    plan = make_plan([tensor for source in sources for tensor in source_tensors(source)], config, parts)
    total = sum(math.prod(leaf.shape) for leaf in plan.leaves) * DTYPES[dtype].itemsize
    unfinished = destination.with_name(destination.name + UNFINISHED_SUFFIX)
    _start_or_continue(unfinished, _job(plan, dtype, parts), total)
    tensors = _write_parameters(
        unfinished, plan, DTYPES[dtype], ByteProgress(console or Console(quiet=True), f"writing {destination}", total)
    )
    has_tokenizer = _copy_tokenizer(plan, unfinished / "tokenizer")
    write_tree_metadata(unfinished, tensors)
    summary = _summary(plan, dtype, tensors)
    write_atomically(unfinished / WEIGHTS_FILE, json.dumps(summary, indent=1) + "\n")
    os.rename(unfinished, destination)
    (destination / JOB_FILE).unlink()
    return Converted(plan, has_tokenizer, summary["fingerprint"])


def _write_parameters(directory: Path, plan: Plan, dtype: np.dtype, progress: ByteProgress) -> dict[str, dict[str, Any]]:
    tensors = {}
    with progress:
        for leaf in plan.leaves:
            path, stacked = leaf.entry.path, leaf.entry.stacked
            slices = leaf.slices(plan.config)
            digest = write_parameter(directory, path, leaf.shape, dtype, slices, stacked=stacked, written=progress.advance)
            tensors[path] = {"shape": list(leaf.shape), "dtype": dtype.name, "sha256": digest}
    return tensors


def fingerprint(tensors: Mapping[str, Mapping[str, Any]]) -> str:
    """sha256 over the sorted lines `path shape dtype sha256` of the tensors; the shape is written like `4096x32768`."""
    lines = sorted(f"{path} {'x'.join(map(str, of['shape']))} {of['dtype']} {of['sha256']}" for path, of in tensors.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _summary(plan: Plan, dtype: str, tensors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "format": WEIGHTS_FORMAT,
        "model": to_dict(plan.config),
        "dtype": dtype,
        "sources": [file.name for file in _files(plan)],
        "initialised": list(plan.initialised),
        "excused": plan.excused,
        "changed": plan.changed,
        "tensors": tensors,
        "fingerprint": fingerprint(tensors),
    }


def _files(plan: Plan) -> list[Path]:
    return list(dict.fromkeys(source.tensor.file for leaf in plan.leaves for source in leaf.sources))


def _job(plan: Plan, dtype: str, parts: Sequence[str]) -> dict[str, Any]:
    """What an interrupted conversion must have in common with the one that goes on from it."""
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in _files(plan)]
    keys = {leaf.entry.path: [source.tensor.key for source in leaf.sources] for leaf in plan.leaves}
    job = {"model": to_dict(plan.config), "dtype": dtype, "parts": list(parts), "files": files, "keys": keys}
    return json.loads(json.dumps(job))


def _start_or_continue(directory: Path, job: dict[str, Any], total: int) -> None:
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory.parent).free
        if free < total:
            raise UserError(f"{directory.parent} has {free / 1e9:.1f} GB free and the weights take {total / 1e9:.1f} GB; make room first.")
        write_atomically(directory / JOB_FILE, json.dumps(job) + "\n")
        return
    try:
        begun = json.loads((directory / JOB_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        begun = None
    if begun != job:
        raise UserError(f"{directory} was begun with other files or settings; remove it to start again, or choose another --dst.")


def _copy_tokenizer(plan: Plan, destination: Path) -> bool:
    """Copies the tokenizer files beside the language model's weights, if there are any."""
    embeddings = [leaf for leaf in plan.leaves if leaf.entry.path == "language_model/embed_tokens"]
    folder = embeddings[0].sources[0].tensor.file.parent if embeddings else None
    found = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()] if folder else []
    for file in found:
        refuse_escape(folder, file)
        destination.mkdir(exist_ok=True)
        shutil.copyfile(file, destination / file.name)
    return bool(found)
