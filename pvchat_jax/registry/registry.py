"""The folder of people: who is in it, over which base, and how they come in, go out and change their name.

    registry.json         the base that all packs are for
    packs/wilson/         a pack (pack.json, personalised.safetensors), with consent.json, enrolment.json, calibration.json

A person is what has a pack.json. All of a person lies in one folder, which is put into place whole and erased whole.
"""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pvchat_jax.config.flags import flatten, from_dict, to_dict
from pvchat_jax.config.pack_manifest import (
    CALIBRATION_FILE,
    TENSORS_FILE,
    THRESHOLD_FILE,
    PackManifest,
    is_pack,
    read_manifest,
    write_manifest,
)
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.files import new_directory, write_atomically
from pvchat_jax.registry.names import bare, folder_name, is_same, resolve
from pvchat_jax.registry.person import Person, read_person, write_enrolment
from pvchat_jax.synthesis.consent import Consent, write_consent

DEFAULT_REGISTRY = Path("people")
REGISTRY_FILE = "registry.json"
PEOPLE_FOLDER = "packs"
_FORMAT = ("pvchat_jax registry", 1)
# Settings that all people of a registry share, for they share the base, the features of a video and the compiled programs.
_SHARED = ("compute_dtype", "frozen_dtype", "data.num_frames", "data.image_size", "data.tile_grid", "data.prompt_style", "data.tokenizer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """What the packs lie over.

    Attributes:
      weights: as `TrainConfig.weights`.
      fingerprint: of the weights (training/weights.py).
      config: of the model and of what it is shown; it says nothing of any person.
    """

    weights: str
    fingerprint: str
    config: TrainConfig


class Registry:
    """People in a folder, which need not exist yet.

    Every call reads the folder anew, so that several processes may use it; each change appears whole or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def base(self) -> Base | None:
        """What the people share; None before the first one came.

        Raises:
          UserError: the registry's file is damaged.
        """
        path = self.folder / REGISTRY_FILE
        if not path.is_file():
            return None
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            form = values.pop("format"), values.pop("format_version")
            if form != _FORMAT:
                raise UserError(f"it has format {form} and this version of pvchat_jax reads {_FORMAT}; choose another --registry.")
            return Base(**values | {"config": from_dict(TrainConfig, values["config"])})
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not describe a registry ({type(error).__name__}: {error}); restore it.") from error

    def people(self) -> list[Person]:
        """Everybody, in order of name.

        Raises:
          UserError: somebody's files are damaged.
        """
        folder = self.folder / PEOPLE_FOLDER
        if not folder.is_dir():
            return []
        found = [read_person(path) for path in folder.iterdir() if is_pack(path) and not path.name.startswith(".")]
        return sorted(found, key=lambda person: bare(person.name).casefold())

    def person(self, name: str) -> Person:
        """The one who is meant by `name`.

        Raises:
          UserError: there is no such person.
        """
        people = {person.name: person for person in self.people()}
        return people[resolve(name, people)]

    def enrol(self, pack: Path, *, name: str | None = None, consent: Consent | None = None, is_invented: bool = False) -> Person:
        """Copies a pack into the registry; the first one says which base this registry is for.

        Args:
          pack: a folder as `export_pack` makes it.
          name: instead of the pack's own.

        Raises:
          UserError: it is damaged, for another base, or the name is taken.
        """
        manifest = read_manifest(pack)
        manifest = _renamed(manifest, name or manifest.subject)
        self._require_free(manifest.subject, "--name=OTHER")
        base = self.base
        if base is None:
            base = _base_of(manifest, pack)
        _require_fit(manifest, base, pack)
        target = self._folder_of(manifest.subject)
        with _one_sentence(target), new_directory(target) as folder:
            shutil.copyfile(pack / TENSORS_FILE, folder / TENSORS_FILE)
            for file in (THRESHOLD_FILE, CALIBRATION_FILE):
                if (pack / file).is_file():
                    shutil.copyfile(pack / file, folder / file)
            if consent is not None:
                write_consent(folder, consent)
            write_enrolment(folder, is_invented=is_invented)
            write_manifest(folder, manifest)
            if self.base is None:
                self._write_base(base)
        return read_person(target)

    def rename(self, name: str, new_name: str) -> Person:
        """Gives a person another name; what was learnt stays as it is.

        Raises:
          UserError: there is no such person, or the new name is taken or cannot be a token.
        """
        person = self.person(name)
        if not is_same(person.name, new_name):
            self._require_free(new_name, "another name")
        manifest = _renamed(person.manifest, new_name)
        target = self._folder_of(manifest.subject)
        with _one_sentence(target):
            write_manifest(person.folder, manifest)
            if target != person.folder:
                os.rename(person.folder, target)  # the manifest says who it is, so a crash in between loses nothing
        return read_person(target)

    def renew_consent(self, name: str, consent: Consent) -> None:
        """Replaces the record of a person's consent."""
        write_consent(self.person(name).folder, consent)

    def _folder_of(self, name: str) -> Path:
        return self.folder / PEOPLE_FOLDER / folder_name(name)

    def _require_free(self, name: str, remedy: str) -> None:
        for other in self.people():
            if is_same(other.name, name):
                raise UserError(
                    f"{bare(other.name)} is enrolled already; choose {remedy}, or erase that one first with: "
                    f"python -m pvchat_jax.subjects forget '{bare(other.name)}'"
                )
        if self._folder_of(name).exists():
            raise UserError(f"{self._folder_of(name)} is taken by something that is no pack; remove it, or choose {remedy}.")

    def _write_base(self, base: Base) -> None:
        values = {"format": _FORMAT[0], "format_version": _FORMAT[1], "weights": base.weights, "fingerprint": base.fingerprint}
        write_atomically(self.folder / REGISTRY_FILE, json.dumps(values | {"config": to_dict(base.config)}, indent=2) + "\n")


@contextlib.contextmanager
def _one_sentence(target: Path) -> Iterator[None]:
    """Turns what stands in the way of writing `target` into a `UserError`; a full disk is none."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{target} cannot be written ({error.strerror or error}); choose another name or --registry.") from error


def _renamed(manifest: PackManifest, name: str) -> PackManifest:
    """`manifest` of a person called `name`, which has to be a token; a name without brackets gets them where the old one had them."""
    from pvchat_jax.data.tokenizer import load_tokenizer  # seconds

    if manifest.subject.startswith("<") and not name.startswith("<"):
        name = f"<{name}>"
    load_tokenizer(manifest.config.data.tokenizer, [name])
    config = dataclasses.replace(manifest.config, data=dataclasses.replace(manifest.config.data, subject=name))
    return dataclasses.replace(manifest, subject=name, config=config)


def _base_of(manifest: PackManifest, pack: Path) -> Base:
    """The base of a registry that begins with this pack."""
    from pvchat_jax.training.packs import check_base  # jax

    weights = manifest.config.weights
    check_base(pack, weights)
    packaged = weights in ("", "tiny")
    data = dataclasses.replace(manifest.config.data, subject="<person>", train="", features_dir="")
    config = dataclasses.replace(manifest.config, output_dir="registry", init_from="", weights="", data=data)
    return Base(weights=weights if packaged else str(Path(weights).absolute()), fingerprint=manifest.base_fingerprint, config=config)


def _require_fit(manifest: PackManifest, base: Base, pack: Path) -> None:
    """Refuses a pack that cannot lie over the base beside the others.

    Raises:
      UserError: it is of another base, was shown other frames, or changes how videos are encoded.
    """
    if manifest.base_fingerprint != base.fingerprint:
        raise UserError(
            f"{pack} was trained on other base weights (fingerprint {manifest.base_fingerprint[:16]}) than those of this registry "
            f"({base.fingerprint[:16]}); give it a registry of its own with --registry=DIR."
        )
    ours, theirs = flatten(base.config), flatten(manifest.config)
    for name in theirs:
        if (name in _SHARED or name.startswith("model.")) and ours[name] != theirs[name]:
            raise UserError(
                f"{pack} has {name} {theirs[name]} and the people of this registry have {ours[name]}; train it alike, "
                "or give it a registry of its own with --registry=DIR."
            )
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(pack / TENSORS_FILE, framework="numpy") as file:
            changed = next((name for name in file.keys() if name.startswith(("vision_encoder/", "vision_norm/"))), None)  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{pack / TENSORS_FILE} is not a readable safetensors file ({error}); export the pack anew.") from error
    if changed:
        raise UserError(
            f"{pack} has a video encoder of its own ({changed}), and people of a registry share one; train with "
            "--config.optimizer.vision_upper=0 --config.optimizer.base=0."
        )
