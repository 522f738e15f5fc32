"""The people of the registry for clients: who there is, adding a pack, and erasing."""

import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import UploadFile

from pvchat_jax.config.pack_manifest import CALIBRATION_FILE, MANIFEST_FILE, TENSORS_FILE, THRESHOLD_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.registry.names import bare, is_same
from pvchat_jax.registry.person import Person
from pvchat_jax.registry.registry import Registry
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.schemas import Subject
from pvchat_jax.server.settings import Settings
from pvchat_jax.synthesis.consent import CONSENT_FILE, Consent, make_consent, read_consent
from pvchat_jax.synthesis.forgetting import RECEIPTS_FOLDER, forget
from pvchat_jax.synthesis.personal_data import find_places

_PACK_FILES = (MANIFEST_FILE, TENSORS_FILE, CONSENT_FILE, THRESHOLD_FILE, CALIBRATION_FILE)
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


def add_pack(registry: Registry, files: Sequence[UploadFile], consent: Consent | None) -> Person:
    """Enrols the person of an uploaded pack.

    Args:
      files: by the names that they have in a pack.
      consent: to use where the pack brings no record of one.

    Raises:
      Refusal: a file is missing or none of a pack, or nobody agreed.
      UserError: the pack cannot be used, see `Registry.enrol`.
    """
    with tempfile.TemporaryDirectory(prefix="pack") as name:
        folder = Path(name)
        for file in files:
            if file.filename not in _PACK_FILES:
                raise Refusal(400, f"'{(file.filename or '')[:80]}' is no file of a pack; send {MANIFEST_FILE} and {TENSORS_FILE}.")
            with (folder / file.filename).open("wb") as copy:
                while chunk := file.file.read(_CHUNK):
                    copy.write(chunk)
        if missing := next((file for file in (MANIFEST_FILE, TENSORS_FILE) if not (folder / file).is_file()), None):
            raise Refusal(400, f"the pack lacks {missing}; send all files of its folder together.")
        try:
            brought = read_consent(folder / CONSENT_FILE) if (folder / CONSENT_FILE).is_file() else consent
            if brought is None:
                raise Refusal(400, f"nobody's consent came with the pack; send {CONSENT_FILE}, or consent_by and consent_until.")
            return registry.enrol(folder, consent=brought)
        except UserError as error:
            raise Refusal(400, str(error).replace(f"{folder}/", "").replace(str(folder), "the pack")) from error


def consent_of(given_by: str | None, until: str | None, today: datetime.date) -> Consent | None:
    """The consent that a form gives; None where it gives none.

    Raises:
      UserError: it does not hold together.
    """
    return make_consent(given_by, until or "", ["train"], date=str(today)) if given_by else None


def erase(registry: Registry, settings: Settings, name: str, now: datetime.datetime) -> Path:
    """Erases a person's pack, and the training set that an enrolment here has left.

    Returns:
      The receipt, which names nobody.

    Raises:
      Refusal: there is no such person.
    """
    roots = [root for root in (registry.folder, settings.workspace) if root.is_dir()]
    own = [place for place in find_places(roots) if is_same(place.name, name)]
    if not own:
        raise Refusal(404, f"nobody called '{name[:60]}' is enrolled.")
    return forget(own, registry.folder / RECEIPTS_FOLDER, now)
