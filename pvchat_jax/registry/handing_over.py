"""A person on the way from one registry to another, as a folder or as one file, and from a training run into a registry."""

import contextlib
import dataclasses
import datetime
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pvchat_jax.config.pack_manifest import (
    MANIFEST_FILE,
    PackManifest,
    is_pack,
    write_manifest,
)
from pvchat_jax.config.run_directory import CONFIG_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.files import new_directory, temporary_beside
from pvchat_jax.registry.person import PERSON_FILES, Person

ONE_FILE = ".zip"
_PART = 1 << 20


def export_person(person: Person, destination: Path, today: datetime.date) -> None:
    """Writes what another registry needs to enrol the person, into one file where `destination` ends in `.zip`, else into a folder.

    Raises:
      UserError: the consent does not cover sharing, or the destination is taken.
    """
    person.require_usable(today, "share")
    if destination.exists():
        raise UserError(f"{destination} exists already; remove it or choose another destination.")
    if destination.suffix != ONE_FILE:
        with new_directory(destination) as folder:
            _copy(person, folder)
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(destination)
    try:
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".") as folder, zipfile.ZipFile(temporary, "x") as file:
            _copy(person, Path(folder))
            for path in sorted(Path(folder).iterdir()):
                file.write(path, path.name)
        temporary.rename(destination)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(person: Person, folder: Path) -> None:
    """The person's files without chats, and without the paths of the machine on which the pack was made."""
    for name in PERSON_FILES:
        if (person.folder / name).is_file():
            shutil.copyfile(person.folder / name, folder / name)
    write_manifest(folder, _without_paths(person.manifest))


def _without_paths(manifest: PackManifest) -> PackManifest:
    config = manifest.config
    data = dataclasses.replace(config.data, train="", features_dir="")
    return dataclasses.replace(manifest, config=dataclasses.replace(config, data=data, output_dir="pack"))


@contextlib.contextmanager
def as_pack(source: Path) -> Iterator[Path]:
    """The pack that `source` is, holds in one file, or is made of where `source` is a training run; gone afterwards unless it was there.

    Raises:
      UserError: it is nothing of these, or damaged.
    """
    if is_pack(source):
        yield source
        return
    is_run = (source / CONFIG_FILE).is_file()
    if not is_run and not source.is_file():
        what = "holds neither a training run nor a pack" if source.is_dir() else "does not exist"
        raise UserError(f"{source} {what}; give the output_dir of a run, a pack, or a file that export made.")
    with tempfile.TemporaryDirectory(prefix="pvchat_pack_") as name:
        folder = Path(name)
        if is_run:
            _export_run(source, folder)
        else:
            _unpack(source, folder)
        yield folder


def _export_run(run: Path, folder: Path) -> None:
    import jax  # seconds

    from pvchat_jax.config.schema import MeshConfig
    from pvchat_jax.sharding import make_mesh
    from pvchat_jax.training.pack_export import export_pack

    export_pack(run, folder, make_mesh(MeshConfig(data=1), jax.devices("cpu")[:1]))


def _unpack(source: Path, folder: Path) -> None:
    """Only files that belong to a pack, none of them compressed, so that a small file does not fill the disk."""
    try:
        with zipfile.ZipFile(source) as file:
            for entry in file.infolist():
                if entry.filename not in PERSON_FILES or entry.compress_type != zipfile.ZIP_STORED:
                    raise UserError(f"{source} holds '{entry.filename[:80]}', which export does not write like that; ask for another file.")
                with file.open(entry) as packed, (folder / entry.filename).open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, _PART)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise
        raise UserError(f"{source} is no file that export made, or is damaged ({error}); copy it again.") from error
    if not is_pack(folder):
        raise UserError(f"{source} holds no {MANIFEST_FILE}, so it is no pack; ask for another file.")
