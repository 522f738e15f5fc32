"""Reading packs; `pvchat_jax/config/pack_manifest.py` says what a pack is and `pack_export.py` makes them."""

from collections.abc import Collection
from pathlib import Path

import jax

from pvchat_jax.config.pack_manifest import TENSORS_FILE, read_manifest
from pvchat_jax.errors import UserError
from pvchat_jax.training.weights import Abstract, read_safetensors, weights_directory, weights_fingerprint


def check_base(pack: Path, weights: str) -> None:
    """Refuses a pack on weights that it was not trained on, where its numbers would mean nothing.

    Raises:
      UserError: the fingerprints differ, or the weights are not there.
    """
    directory = weights_directory(weights)
    if not directory.is_dir():
        raise UserError(
            f"{pack} needs the base weights that it was trained on and {directory} does not exist; put the path of yours at "
            "config.weights in its pack.json, or train with --config.weights."
        )
    expected, actual = read_manifest(pack).base_fingerprint, weights_fingerprint(directory)
    if actual != expected:
        raise UserError(
            f"{pack} was trained on other base weights (fingerprint {expected[:16]}) than {directory} ({actual[:16]}); "
            "give the weights that it was trained on."
        )


def read_pack(pack: Path, step: int, like: Abstract, names: Collection[str]) -> tuple[dict[str, jax.Array], Abstract]:
    """Those of `names` that the pack holds, and the part of `like` that it lacks.

    Args:
      step: that the pack must be of; a run that began with one pack cannot go on with another.

    Raises:
      UserError: the pack is of another step, damaged, or of another model size.
    """
    found = read_manifest(pack).step
    if found != step:
        raise UserError(f"{pack} is of step {found} and this run builds on step {step}; put the former pack back or start a new run.")
    return read_safetensors(pack / TENSORS_FILE, like, names)
