"""The configuration that lies in a run's output directory, so that a run can be reopened and continued."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from pvchat_jax.config.flags import flatten, from_dict, to_dict
from pvchat_jax.config.pack_manifest import is_pack, read_manifest
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.config.tracking_schema import TrackingConfig
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"

# Settings that a run may change when it continues; `num_steps` only upwards. Another mesh changes the order of sums alone.
MESH = tuple(f"mesh.{field.name}" for field in dataclasses.fields(MeshConfig))
TRACKING = tuple(f"tracking.{field.name}" for field in dataclasses.fields(TrackingConfig))
MAY_DIFFER = ("num_steps", "log_every", "checkpoint.every_steps", "checkpoint.keep", "data.num_workers", *MESH, *TRACKING)


def read_config(directory: str | Path) -> TrainConfig:
    """The configuration of the run, or of the pack, in `directory`.

    Raises:
      UserError: there is neither, or its configuration is not of this version.
    """
    if is_pack(directory):
        return read_manifest(directory).config
    path = Path(directory) / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{directory} holds no run: there is no {CONFIG_FILE} in it; give the output_dir of a training run.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); restore it or train again into another directory.") from error
    try:
        return from_dict(TrainConfig, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def check_output_dir(config: TrainConfig) -> None:
    """Refuses an output directory with the checkpoints of another run.

    Raises:
      UserError: the first setting that differs, or a run that has more steps than `config` asks for.
    """
    directory = Path(config.output_dir)
    if config.init_from and directory.resolve() == Path(config.init_from).resolve():
        raise UserError(f"init_from and output_dir are both {directory}; give the new run another --config.output_dir.")
    # A run that failed before its first checkpoint left nothing worth protecting.
    if (directory / CONFIG_FILE).is_file() and any((directory / CHECKPOINTS).glob("[0-9]*")):
        _compare(read_config(directory), config)


def write_config(config: TrainConfig) -> None:
    """Creates the output directory with the run's configuration in it.

    Raises:
      UserError: the directory cannot be written.
    """
    directory = Path(config.output_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / CONFIG_FILE, json.dumps(to_dict(config), indent=2) + "\n")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"output_dir {directory} cannot be written ({error.strerror}); choose another --config.output_dir.") from error


def _compare(old: TrainConfig, new: TrainConfig) -> None:
    old_values, new_values = flatten(old), flatten(new)
    for name, value in new_values.items():
        if name in MAY_DIFFER or old_values[name] == value:
            continue
        raise UserError(
            f"{new.output_dir} holds a run whose {name} is {_show(old_values[name])}, not {_show(value)}; "
            f"set --config.{name}={_show(old_values[name])} to continue that run, or choose another --config.output_dir."
        )
    if new.num_steps < old.num_steps:
        raise UserError(
            f"{new.output_dir} holds a run of {old.num_steps} steps, more than num_steps {new.num_steps}; "
            "num_steps can only be raised, so choose another --config.output_dir."
        )


def _show(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value) or "''"
