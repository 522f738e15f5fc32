"""A registry of people over the packaged tiny base, without any training: what a pack has is the base's with some noise of the person."""

import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from configs import stage2
from pvchat_jax.config.pack_manifest import TENSORS_FILE, PackManifest, write_manifest
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.evaluation.presence_calibration import PresenceCalibration, write_calibration
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.registry.registry import Registry
from pvchat_jax.sharding import make_mesh
from pvchat_jax.synthesis.consent import Consent
from pvchat_jax.training.initialise import abstract_params
from pvchat_jax.training.weights import read_tensors, weights_directory, weights_fingerprint

NAMES = ("<Wilson>", "<Ada>")
ALWAYS = {"present": (-1e6, -1e6), "unsure": (1e6, -1e6), "absent": (1e6, 1e6)}


def make_registry(folder: Path, names: Sequence[str] = NAMES, *, consent: Consent | None = None, verdict: str | None = None) -> Registry:
    """A registry in `folder`; its people are invented unless there is a `consent` for them.

    Args:
      verdict: `present`, `absent` or `unsure` about every video; None leaves it to the uncalibrated log-odds.
    """
    registry = Registry(folder)
    for seed, name in enumerate(names):
        with tempfile.TemporaryDirectory() as parent:
            pack = make_pack(Path(parent, "pack"), name, seed=seed)
            if verdict is not None:
                decide(pack, verdict)
            registry.enrol(pack, consent=consent, is_invented=consent is None)
    return registry


def decide(folder: Path, verdict: str) -> None:
    """Gives a pack or a person a calibration that always says `verdict`."""
    above, below = ALWAYS[verdict]
    write_calibration(folder, PresenceCalibration(slope=1.0, offset=0.0, present_above=above, absent_below=below, num_look_alikes=1))


def make_pack(folder: Path, name: str, *, seed: int = 0, **settings: Any) -> Path:
    """A pack for `name` that some training might have left.

    Args:
      settings: of the configuration, instead of those of the tiny second stage.
    """
    preset = stage2.get_config("tiny")
    config = dataclasses.replace(preset, init_from="", data=dataclasses.replace(preset.data, subject=name), **settings)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    base = flatten_dict(read_tensors(weights_directory("tiny"), ("",)), sep="/")
    tensors = {
        path: (base.get(path, np.ones(shape) if path.endswith("scale") else np.zeros(shape)) + 0.05 * rng.standard_normal(shape))
        for path, shape in _trainable(config).items()
    }
    save_file({path: value.astype(np.float32) for path, value in tensors.items()}, folder / TENSORS_FILE)
    fingerprint = weights_fingerprint(weights_directory("tiny"))
    write_manifest(
        folder, PackManifest(base_fingerprint=fingerprint, subject=name, step=1, records=("none",), versions={"jax": "0"}, config=config)
    )
    return folder


@functools.cache
def _trainable(config: TrainConfig) -> dict[str, tuple[int, ...]]:
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    trainable, _ = abstract_params(config, build_pvchat(config.model), mesh)
    return {path: leaf.shape for path, leaf in flatten_dict(trainable, sep="/").items()}


def make_frames(seed: int = 0, num_frames: int = 4, size: int = 64) -> np.ndarray:
    """Something to look at: uint8[T, size, size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
