"""The description of a pack: what a run learned, apart from the base model that it learned it on.

A pack is a directory with the tensors in `personalised.safetensors` and this description in `pack.json`. It stands wherever
a training run's output directory may stand: as `init_from`, and as `--run`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from pvchat_jax.config.flags import from_dict, to_dict
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

MANIFEST_FILE = "pack.json"
TENSORS_FILE = "personalised.safetensors"
# What a run and a pack of it keep of the clips that were held out, each if there were any: see evaluation/threshold.py and
# evaluation/presence_calibration.py.
THRESHOLD_FILE = "threshold.json"
CALIBRATION_FILE = "calibration.json"
FORMAT = "pvchat_jax pack"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackManifest:
    """What pack.json says beside its format.

    Attributes:
      base_fingerprint: of the weights that the pack belongs to (see training/weights.py).
      subject: the name that the added rows stand for.
      step: of the run when the pack was made.
      records: for each training stage, the first one first, its number of videos and questions and their SHA-256.
      versions: of the packages that trained it.
      config: of the run, without `init_from`: a pack holds what the earlier stages learned as well.
    """

    base_fingerprint: str
    subject: str
    step: int
    records: tuple[str, ...]
    versions: dict[str, str]
    config: TrainConfig


def is_pack(directory: str | Path) -> bool:
    return (Path(directory) / MANIFEST_FILE).is_file()


def read_manifest(directory: str | Path) -> PackManifest:
    """The description of the pack in `directory`.

    Raises:
      UserError: it is damaged, or of another version.
    """
    path = Path(directory) / MANIFEST_FILE
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form = values.pop("format"), values.pop("format_version")
        if form != (FORMAT, FORMAT_VERSION):
            raise UserError(f"{path} has format {form} and this version of pvchat_jax reads {(FORMAT, FORMAT_VERSION)}; export it anew.")
        values["config"] = from_dict(TrainConfig, values["config"])
        values["records"] = tuple(values["records"])
        return PackManifest(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe a pack ({type(error).__name__}: {error}); export it anew.") from error


def write_manifest(directory: Path, manifest: PackManifest) -> None:
    """Writes pack.json, which makes `directory` a pack."""
    fields = {field.name: getattr(manifest, field.name) for field in dataclasses.fields(manifest)}
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **fields, "config": to_dict(manifest.config)}
    write_atomically(directory / MANIFEST_FILE, json.dumps(values, indent=2) + "\n")
