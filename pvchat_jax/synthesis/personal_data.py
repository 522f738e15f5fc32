"""Where everything lies that was derived from a person, so that it can be shown and erased.

A training set claims its folder for one name with `subject.json`; all that the synthesis, the training and the evaluation of
`python -m pvchat_jax.personalize` derive from the person lies in there. Training runs and packs elsewhere name their subject themselves.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.config.pack_manifest import MANIFEST_FILE
from pvchat_jax.config.run_directory import CONFIG_FILE
from pvchat_jax.data.json_fields import suggestion
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

SUBJECT_FILE = "subject.json"
# What says that a folder is about one person, with the path of the name in it. The last thing to be erased in a folder.
_MARKERS = {
    SUBJECT_FILE: ("training set", ("name",)),
    MANIFEST_FILE: ("pack", ("subject",)),
    CONFIG_FILE: ("training run", ("data", "subject")),
}
_UNLIKELY = (".git", ".venv", "node_modules", "__pycache__")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A folder about one person; `kind` is `training set`, `training run` or `pack`, `marker` the file that says so."""

    folder: Path
    name: str
    kind: str
    marker: Path

    @property
    def values(self) -> dict[str, Any]:
        """What the marker says."""
        return _read_object(self.marker)


class Amount(NamedTuple):
    """Files and their bytes."""

    files: int
    bytes: int


def bare(name: str) -> str:
    """`Wilson` of `<Wilson>`, so that either may be typed."""
    return name.removeprefix("<").removesuffix(">")


def claim_folder(folder: Path, name: str, video: Path) -> None:
    """Makes `folder` that of the training set of `name`, filmed in `video`, whose file stays where it is.

    Raises:
      UserError: the folder is that of somebody else, or the name is taken by a neighbouring folder.
    """
    path = folder / SUBJECT_FILE
    if path.is_file():
        known = str(_read_object(path).get("name"))
        if known != name:
            raise UserError(f"{folder} is the training set of {known}, not of {name}; choose another --out.")
    else:
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise UserError(f"{folder} holds files of something else; choose another --out, which is made if it does not exist.")
        for other in find_places([folder.parent], depth=2):
            if other.kind == "training set" and bare(other.name) == bare(name):
                raise UserError(
                    f"the name {name} is already that of the person in {other.folder}; choose another --name, continue there with "
                    f"--out={other.folder}, or erase it with: python -m pvchat_jax.subjects forget '{bare(name)}'"
                )
    if not path.is_file() or _read_object(path).get("video") != str(video.absolute()):
        write_atomically(path, json.dumps({"name": name, "video": str(video.absolute())}, ensure_ascii=False, indent=2) + "\n")


def require_claim(folder: Path, name: str) -> None:
    """Refuses a folder that is not that of the training set of `name` yet, for one worker of several.

    Raises:
      UserError: it is not.
    """
    if _read_object(folder / SUBJECT_FILE).get("name") != name:
        raise UserError(f"{folder} is not prepared for {name}; start the same command with --only=cast instead of --shard first.")


def find_places(roots: Iterable[Path], *, depth: int = 6) -> list[Place]:
    """The folders about people below `roots`, in order of path; those inside a training set belong to it and are not listed."""
    found: dict[Path, Place] = {}
    for root in roots:
        for place in _search(root.absolute(), depth):
            found[place.folder.resolve()] = place
    return [found[path] for path in sorted(found)]


def _search(folder: Path, depth: int) -> Iterator[Place]:
    for file, (kind, field) in _MARKERS.items():
        marker = folder / file
        value: Any = _read_object(marker) if marker.is_file() else None
        for part in field:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str):
            yield Place(folder=folder, name=value, kind=kind, marker=marker)
            return
    if depth and folder.is_dir():
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False) and entry.name not in _UNLIKELY:
                yield from _search(Path(entry.path), depth - 1)


def places_of(name: str, places: Sequence[Place]) -> list[Place]:
    """Those of `name`, with or without angle brackets, and however it is capitalised where only one name differs in no more than that.

    Raises:
      UserError: there is none.
    """
    own = [place for place in places if bare(place.name) == bare(name)]
    if not own:
        alike = [place for place in places if bare(place.name).casefold() == bare(name).casefold()]
        own = alike if len({bare(place.name) for place in alike}) == 1 else []
    if not own:
        names = sorted({bare(place.name) for place in places})
        near = suggestion(bare(name), names)
        raise UserError(f"nothing here is of '{name}'; known are {', '.join(names) or 'nobody'}, and --root=DIR names where to look{near}.")
    return own


def contents(folder: Path) -> dict[str, Amount]:
    """Files and bytes by what stands directly in `folder`, in order of name."""
    counted: dict[str, Amount] = {}
    for entry in sorted(folder.iterdir()):
        sizes = [file.lstat().st_size for file in _files(entry)]
        counted[entry.name] = Amount(len(sizes), sum(sizes))
    return counted


def total(folder: Path) -> Amount:
    """Files and bytes in `folder`."""
    amounts = contents(folder).values()
    return Amount(sum(amount.files for amount in amounts), sum(amount.bytes for amount in amounts))


def erase(place: Place) -> None:
    """Removes the folder and all in it; the marker goes last, so that what was begun is found again and ended.

    Links are removed and what they point at is left alone. The blocks on the disk are not overwritten.
    """
    for entry in place.folder.iterdir():
        if entry == place.marker:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    place.marker.unlink()
    place.folder.rmdir()


def _files(entry: Path) -> Iterator[Path]:
    """The file itself, or the files in a directory; links count as files and are not followed."""
    if entry.is_symlink() or not entry.is_dir():
        yield entry
        return
    for folder, directories, names in os.walk(entry):
        links = [name for name in directories if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in (*names, *links))


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
