"""The training sets that are joined, one for each person."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.exporting.assembling import CLIPS_FILE, FACE_FILE, MANIFEST_FILE
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.privacy.consent import CONSENT_FILE, Consent, read_consent
from pvchat_jax.synthesis.privacy.personal_data import SUBJECT_FILE, bare
from pvchat_jax.synthesis.record_json import from_json
from pvchat_jax.synthesis.records import Clip

MOST_PARTS = 3  # people that the original's layout has places for, and that fit beside each other into a picture


class Part(NamedTuple):
    """The training set of one person.

    Attributes:
      name: of the person. embedding: of the face, float32[D].
      clips: with their splits. parents: names of the filmed videos, by digest, as far as they are known.
    """

    folder: Path
    name: str
    embedding: np.ndarray
    clips: tuple[tuple[str, Clip], ...]
    parents: Mapping[str, str]
    consent: Consent


def read_parts(folders: Sequence[Path], reader: FaceReader) -> list[Part]:
    """The sets in `folders`.

    Raises:
      UserError: a folder holds no finished set, one of another reader, or they are not of two or three different people.
    """
    parts = [_read_part(folder, reader) for folder in folders]
    names = [bare(part.name) for part in parts]
    if not 2 <= len(set(names)) == len(names) <= MOST_PARTS:
        raise UserError(f"the sets are of {', '.join(names) or 'nobody'}; name those of two to {MOST_PARTS} different people.")
    for number, part in enumerate(parts):
        for other in parts[:number]:
            alike = float(part.embedding @ other.embedding)
            if alike >= reader.same_person:
                raise UserError(
                    f"{part.name} and {other.name} are one person to {reader.name}, at a similarity of {alike:.2f}; "
                    "join sets of people whom it can tell apart, or choose another reader."
                )
    return parts


def _read_part(folder: Path, reader: FaceReader) -> Part:
    subject, face, manifest = (_read(folder, name) for name in (SUBJECT_FILE, FACE_FILE, MANIFEST_FILE))
    if face["reader"] != reader.name:
        raise UserError(f"{folder} was made with the face reader {face['reader']} and not {reader.name}; set --config.reader to it.")
    lines = (folder / CLIPS_FILE).read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "split" in row]
    clips = tuple((row.pop("split"), from_json(Clip, row)) for row in rows)
    if missing := next((clip for _, clip in clips if not (folder / clip.video).is_file()), None):
        raise UserError(f"{folder / missing.video} is missing; make the set again with python -m pvchat_jax.synthesize.")
    return Part(
        folder=folder,
        name=subject["name"],
        embedding=np.asarray(face["embedding"], np.float32),
        clips=clips,
        parents={manifest["source"]["sha256"]: manifest["source"]["video"]},
        consent=read_consent(folder / CONSENT_FILE),
    )


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no finished training set ({name}: {error}); make it with python -m pvchat_jax.synthesize.") from None
    return values
