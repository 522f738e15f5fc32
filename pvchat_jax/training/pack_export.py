"""The personalised part of a run as a pack."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file

from pvchat_jax.config.pack_manifest import (
    CALIBRATION_FILE,
    TENSORS_FILE,
    THRESHOLD_FILE,
    PackManifest,
    is_pack,
    read_manifest,
    write_manifest,
)
from pvchat_jax.config.run_directory import CHECKPOINTS, read_config
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.initialise import Ancestor, abstract_params, ancestors, base_weights, find_step, learned_by, starting_params
from pvchat_jax.training.partition import join_params
from pvchat_jax.training.weights import read_weights, weights_directory, weights_fingerprint


def export_pack(run_dir: Path, directory: Path, mesh: jax.sharding.Mesh) -> int:
    """Writes the newest checkpoint of a run as a pack into the existing `directory`: all that the run and those before it
    trained, and what the base weights lack. The numbers are float32, as they were trained. How the run was calibrated goes with it.

    Args:
      mesh: where the numbers are brought together.

    Returns:
      How many tensors there are.

    Raises:
      UserError: `run_dir` is no run with a checkpoint, or has no base weights, or they cannot be found again.
    """
    if is_pack(run_dir):
        raise UserError(f"{run_dir} is a pack already; copy it.")
    config = read_config(run_dir)
    step, earlier_steps = find_step(run_dir)
    chain = [Ancestor(run_dir, config, step), *ancestors(config, earlier_steps)]
    weights = base_weights(config, chain)
    if not weights:
        raise UserError(f"{run_dir} was trained from random numbers, so there is no base to put a pack on; export it with --to full.")
    config = dataclasses.replace(config, weights=weights, init_from="", frozen_dtype="float32")
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype))
    like = join_params(*abstract_params(config, model, mesh))
    needed = _personalised(flatten_dict(like, sep="/"), chain, weights)
    params, _ = starting_params(config, model, like, unflatten_dict(needed, sep="/"), chain)
    tensors = {name: np.ascontiguousarray(value) for name, value in flatten_dict(params, sep="/").items()}
    save_file(tensors, directory / TENSORS_FILE)
    for name in (THRESHOLD_FILE, CALIBRATION_FILE):
        if (run_dir / name).is_file():
            shutil.copyfile(run_dir / name, directory / name)
    manifest = PackManifest(
        base_fingerprint=weights_fingerprint(weights_directory(weights)),
        subject=config.data.subject,
        step=step,
        records=tuple(records for run in reversed(chain) for records in _records_of(run)),
        versions=_meta(chain[0])["versions"],
        config=dataclasses.replace(config, frozen_dtype=chain[0].config.frozen_dtype),
    )
    write_manifest(directory, manifest)
    return len(tensors)


def _personalised(like: dict[str, Any], chain: list[Ancestor], weights: str) -> dict[str, Any]:
    """The part of the flat `like` that cannot be had from the base weights."""
    missing = like
    for run in chain:
        _, missing = learned_by(run, weights, missing, ())
    _, not_in_base = read_weights(weights_directory(weights), missing, ())
    return {name: leaf for name, leaf in like.items() if name not in missing or name in not_in_base}


def _records_of(run: Ancestor) -> tuple[str, ...]:
    """What a run was trained on, as its checkpoint describes it."""
    if is_pack(run.directory):
        return read_manifest(run.directory).records
    return (_meta(run)["must_match"]["records"],)


def _meta(run: Ancestor) -> dict[str, Any]:
    return Checkpoints(run.directory / CHECKPOINTS, read_only=True).meta(run.step)
