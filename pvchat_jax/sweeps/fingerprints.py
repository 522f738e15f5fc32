"""What tells a checkpoint, its vision encoder and a set of questions from all others, without loading any of them."""

import hashlib
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import safetensors

from pvchat_jax.config.pack_manifest import TENSORS_FILE, is_pack, read_manifest
from pvchat_jax.config.run_directory import CHECKPOINTS, read_config
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.records import Record
from pvchat_jax.errors import UserError
from pvchat_jax.training.checkpoint import CHECKSUMS
from pvchat_jax.training.initialise import Ancestor, ancestors, base_weights, find_step
from pvchat_jax.training.weights import weights_directory, weights_fingerprint

_VISION = ("vision_encoder/", "vision_norm/")


class Weights(NamedTuple):
    """SHA-256 of all that a checkpoint consists of, of the base below it, and for both what decides over the features of a video."""

    fingerprint: str
    base: str
    encoder: Hashable
    base_encoder: Hashable


def weights_of(run: str, step: int) -> Weights:
    """Of the checkpoint at `step` of a run, or of a pack.

    Raises:
      UserError: a part of it is missing.
    """
    config = read_config(run)
    _, earlier = find_step(Path(run), step)
    chain = [Ancestor(Path(run), config, step), *([] if is_pack(run) else ancestors(config, earlier))]
    weights = base_weights(config, chain)
    base = weights_fingerprint(weights_directory(weights)) if weights else f"seed {chain[-1].config.seed} of {chain[-1].config.model}"
    parts = [_learnt(ancestor) for ancestor in chain]
    whole = hashlib.sha256("\n".join([base, *parts]).encode()).hexdigest()
    source = whole if any(map(_trained_vision, chain)) else base
    data = config.data
    looks = (data.num_frames, data.image_size, data.tile_grid, config.model.vision, config.compute_dtype, config.frozen_dtype)
    return Weights(whole, hashlib.sha256(base.encode()).hexdigest(), (source, *looks), (base, *looks))


def _learnt(ancestor: Ancestor) -> str:
    """The checksums of a checkpoint's files, or the SHA-256 of a pack's."""
    if is_pack(ancestor.directory):
        with open(ancestor.directory / TENSORS_FILE, "rb") as file:
            return read_manifest(ancestor.directory).base_fingerprint + hashlib.file_digest(file, "sha256").hexdigest()
    path = ancestor.directory / CHECKPOINTS / str(ancestor.step) / CHECKSUMS
    if not path.is_file():
        raise UserError(f"checkpoint {path.parent} is damaged ({CHECKSUMS} is missing); remove it to use another.")
    return path.read_text(encoding="utf-8")


def _trained_vision(ancestor: Ancestor) -> bool:
    if is_pack(ancestor.directory):
        with safetensors.safe_open(ancestor.directory / TENSORS_FILE, framework="numpy") as file:
            return any(name.startswith(_VISION) for name in file.keys())  # noqa: SIM118  a file is no mapping
    rates = ancestor.config.optimizer.learning_rates
    return rates["vision_upper"] > 0 or rates["base"] > 0


def records_digest(path: str, records: Sequence[Record], config: TrainConfig) -> tuple[str, str]:
    """SHA-256 of a file of questions, and of which of them are asked and how large their videos are."""
    with open(path, "rb") as file:
        of_file = hashlib.file_digest(file, "sha256").hexdigest()
    videos = [(record.video, _size(record.video), len(record.questions)) for record in records]
    asked = hashlib.sha256(repr((of_file, videos, config.data.subject)).encode()).hexdigest()
    return of_file, asked


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
