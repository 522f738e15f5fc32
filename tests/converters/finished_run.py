"""A finished run of the tiny model without the training: base and learned parameters have random values."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from configs import stage2
from pvchat_jax.config.run_directory import CHECKPOINTS, write_config
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.models.config import PVChatConfig
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.initialise import abstract_params
from pvchat_jax.training.state import create_train_state
from pvchat_jax.training.weights import SAFETENSORS_FILE
from tests.training.stand_in_run import make_batches

STEP = 7


def tiny_model(**lora) -> PVChatConfig:
    """The tiny preset's model, with some settings of its LoRA changed."""
    preset = stage2.get_config("tiny").model
    adapter = dataclasses.replace(preset.language_model.lora, **lora)
    return dataclasses.replace(preset, language_model=dataclasses.replace(preset.language_model, lora=adapter))


def write_run(directory: Path, model: PVChatConfig) -> TrainConfig:
    """Makes `directory` the output of a stage that started from the base in the folder `base` beside it, which is made too."""
    base = directory.parent / "base"
    config = dataclasses.replace(stage2.get_config("tiny"), output_dir=str(directory), weights=str(base), init_from="", model=model)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    trainable, frozen = jax.tree.map_with_path(_Draw(0), abstract_params(config, build_pvchat(model), mesh))
    base.mkdir(parents=True, exist_ok=True)
    save_file({name: np.asarray(value) for name, value in flatten_dict(frozen, sep="/").items()}, base / SAFETENSORS_FILE)
    state = create_train_state(trainable, config, mesh)._replace(step=jnp.int32(STEP))
    write_config(config)
    checkpoints = Checkpoints(directory / CHECKPOINTS)
    meta = {"must_match": {"records": "2 videos with 4 questions (sha256 abc)"}, "init_from_steps": [], "versions": {"jax": "0"}}
    checkpoints.save(STEP, state, make_batches(), meta)
    checkpoints.wait()
    checkpoints.close()
    return config


class _Draw:
    """Random arrays in place of abstract ones: norms near 1, everything else small."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jax.device_put((centre + 0.1 * self._rng.standard_normal(leaf.shape)).astype(leaf.dtype), leaf.sharding)
