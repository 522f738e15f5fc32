"""Weights to verify that are not part of a recorded set: files of the original, or a directory that `from_torch` wrote."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

from converters.conversion import WEIGHTS_FILE
from converters.plan import make_plan, parameter_shapes
from converters.recordings import CONFIG_SUFFIX, IO_SUFFIX, Recording, load_npz, read_config, read_parameters
from converters.sources import source_tensors
from pvchat_jax.config.flags import from_dict
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import REFERENCE, PVChatConfig
from pvchat_jax.training.weights import read_weights


def load_checkpoint(checkpoint: Path, io: Path, config_file: Path | None = None) -> Recording:
    """A recording whose weights come from `checkpoint`.

    Sizes are those of `config_file`, of the `_config.json` beside a file that ends in `_io.npz`, or of the published model;
    a directory that `from_torch` wrote is run as its `weights.json` says. What training adds and the checkpoint lacks is left
    out of the model, as it was when such a checkpoint was recorded.

    Raises:
      UserError: something cannot be read, or the checkpoint lacks more than that.
    """
    beside = io.with_name(io.name.removesuffix(IO_SUFFIX) + CONFIG_SUFFIX)
    if config_file is None and io.name.endswith(IO_SUFFIX) and beside.is_file():
        config_file = beside
    info, config = read_config(config_file) if config_file else ({}, dataclasses.replace(REFERENCE, remat_policy="none"))
    arrays = load_npz(io)
    if (checkpoint / WEIGHTS_FILE).is_file():
        params, config = _converted(checkpoint)
    else:
        plan = make_plan(source_tensors(checkpoint), config)
        params, config = read_parameters(plan), without(config, plan.initialised, checkpoint)
    return Recording(io.name.removesuffix(IO_SUFFIX), info, config, params, arrays)


def _converted(directory: Path) -> tuple[dict[str, Any], PVChatConfig]:
    path = directory / WEIGHTS_FILE
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        config, dtype, present = from_dict(PVChatConfig, summary["model"]), jnp.dtype(summary["dtype"]), set(summary["tensors"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} does not describe converted weights; convert them again with python -m converters.from_torch.") from error
    shapes = parameter_shapes(config)
    config = dataclasses.replace(without(config, shapes.keys() - present, directory), remat_policy="none")
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32 if name.endswith("pos_embed") else dtype, sharding=device)
        for name, shape in shapes.items()
        if name in present
    }
    read, _ = read_weights(directory, like, like.keys())
    return unflatten_dict(read, sep="/"), config


def without(config: PVChatConfig, missing: Collection[str], source: Path) -> PVChatConfig:
    """`config` without the parameters `missing`, which must be of those that training adds.

    Raises:
      UserError: another parameter is missing, or some of the routers are.
    """
    qformer, language_model = config.qformer, config.language_model
    lost = set(missing)
    if "subject_tokens" in lost:
        qformer = dataclasses.replace(qformer, num_subject_tokens=0)
    if any("/head_router/" in path for path in lost):
        qformer = dataclasses.replace(qformer, remoh=dataclasses.replace(qformer.remoh, start_layer=qformer.num_layers))
    if "language_model/added_embedding" in lost:
        language_model = dataclasses.replace(language_model, num_added_tokens=0)
    lora = language_model.lora
    targets = tuple(target for target in lora.targets if not any(f"/{target}/lora_" in path for path in lost))
    language_model = dataclasses.replace(language_model, lora=dataclasses.replace(lora, targets=targets))
    fitted = dataclasses.replace(config, qformer=qformer, language_model=language_model)
    refused = sorted(lost & parameter_shapes(fitted).keys())
    if refused:
        raise UserError(f"{source} lacks {refused[0]}, without which there is no model to verify; convert it again from complete files.")
    return fitted
