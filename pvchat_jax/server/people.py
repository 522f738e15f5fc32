"""The people of the registry for clients: who there is, adding a pack, and erasing."""

import datetime
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import UploadFile

from pvchat_jax.config.pack_manifest import MANIFEST_FILE, TENSORS_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.registry.enrolling import Grounds, enrol
from pvchat_jax.registry.handing_over import ONE_FILE, as_pack
from pvchat_jax.registry.names import bare, is_same
from pvchat_jax.registry.person import PERSON_FILES, Person, is_invented
from pvchat_jax.registry.registry import Registry
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.schemas import Subject
from pvchat_jax.server.settings import Settings
from pvchat_jax.synthesis.privacy.consent import CONSENT_FILE, Consent, make_consent, read_consent
from pvchat_jax.synthesis.privacy.forgetting import RECEIPTS_FOLDER, forget
from pvchat_jax.synthesis.privacy.personal_data import find_places
from pvchat_jax.timeline.forgetting import erase_person

_CHUNK = 2**20


def describe(person: Person, today: datetime.date) -> Subject:
    """What clients may know of somebody."""
    try:
        person.require_usable(today)
        note = ""
    except UserError as error:
        note = str(error)
    consent = person.consent
    return Subject(
        name=bare(person.name),
        usable=not note,
        invented=person.is_invented,
        consent_by=consent.given_by if consent else None,
        consent_until=str(consent.expires) if consent else None,
        note=note,
    )


def add_pack(registry: Registry, files: Sequence[UploadFile], consent: Consent | None, today: datetime.date) -> Person:
    """Enrols the person of an uploaded pack.

    Args:
      files: those of a pack's folder by their names, or the one file that export made.
      consent: to use where the pack brings no record of one.

    Raises:
      Refusal: a file is missing, damaged or none of a pack, nobody agreed, or the name is taken.
    """
    with tempfile.TemporaryDirectory(prefix="pack") as name:
        folder = Path(name)
        try:
            source = _written(files, folder)
            with as_pack(source) as pack:
                if consent is None and not is_invented(pack) and not (pack / CONSENT_FILE).is_file():
                    raise Refusal(400, f"nobody's consent came with the pack; send {CONSENT_FILE}, or consent_by and consent_until.")
                return enrol(registry, pack, name=None, grounds=Grounds(consent=_brought(pack) or consent), today=today)
        except UserError as error:
            raise Refusal(400, re.sub(rf"{re.escape(tempfile.gettempdir())}/[^/\s]+/?", "", str(error))) from error


def _written(files: Sequence[UploadFile], folder: Path) -> Path:
    """The folder of the pack, or the one file that it is in."""
    is_one = len(files) == 1 and (files[0].filename or "").endswith(ONE_FILE)
    for file in files:
        if not is_one and file.filename not in PERSON_FILES:
            raise Refusal(400, f"'{(file.filename or '')[:80]}' is no file of a pack; send {MANIFEST_FILE} and {TENSORS_FILE}.")
        with (folder / (f"pack{ONE_FILE}" if is_one else file.filename)).open("wb") as copy:
            shutil.copyfileobj(file.file, copy, _CHUNK)
    missing = next((name for name in (MANIFEST_FILE, TENSORS_FILE) if not is_one and not (folder / name).is_file()), None)
    if missing:
        raise Refusal(400, f"the pack lacks {missing}; send all files of its folder together.")
    return folder / f"pack{ONE_FILE}" if is_one else folder


def _brought(pack: Path) -> Consent | None:
    path = pack / CONSENT_FILE
    return read_consent(path) if path.is_file() else None


def consent_of(given_by: str | None, until: str | None, today: datetime.date) -> Consent | None:
    """The consent that a form gives; None where it gives none.

    Raises:
      Refusal: it says who agreed and not until when.
      UserError: it does not hold together.
    """
    if given_by and not until:
        raise Refusal(400, "consent_until is missing; send the day on which the consent ends, such as 2026-12-31.")
    return make_consent(given_by, until, ["train"], date=str(today)) if given_by and until else None


def erase(registry: Registry, settings: Settings, name: str, now: datetime.datetime) -> Path:
    """Erases a person: pack, training sets, runs, and rows of indices, in the registry, the workspace and the settings' `roots`.

    Returns:
      The receipt, which names nobody.

    Raises:
      Refusal: there is no such person.
    """
    roots = [root for root in (*settings.roots, settings.workspace, registry.folder) if root.is_dir()]
    own = [place for place in find_places(roots) if is_same(place.name, name)]
    if not own:
        raise Refusal(404, f"nobody called '{name[:60]}' is enrolled.")
    rows = {"index rows": lambda: sum(erase_person(root, name) for root in roots)}
    return forget(own, registry.folder / RECEIPTS_FOLDER, now, rows)
