"""One enrolled person: the pack in a folder, the consent to use it, and how it was calibrated."""

import dataclasses
import datetime
import json
from pathlib import Path

from pvchat_jax.config.pack_manifest import CALIBRATION_FILE, MANIFEST_FILE, TENSORS_FILE, THRESHOLD_FILE, PackManifest, read_manifest
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.registry.names import bare
from pvchat_jax.synthesis.consent import CONSENT_FILE, Consent, read_consent

ENROLMENT_FILE = "enrolment.json"
PERSON_FILES = (MANIFEST_FILE, TENSORS_FILE, CONSENT_FILE, ENROLMENT_FILE, CALIBRATION_FILE, THRESHOLD_FILE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in a registry.

    Attributes:
      folder: with the pack, and everything else that the registry keeps of the person.
      consent: None where none was given.
      is_invented: nobody has to agree, because there is no such person.
    """

    folder: Path
    manifest: PackManifest
    consent: Consent | None
    is_invented: bool

    @property
    def name(self) -> str:
        """As it stands in questions, such as `<Wilson>`."""
        return self.manifest.subject

    def require_usable(self, today: datetime.date, scope: str = "train") -> None:
        """Refuses a person whose consent does not cover today, or not `scope`.

        Raises:
          UserError: it expired, has not begun, lacks the scope, or there is none.
        """
        if self.is_invented:
            return
        name, remedy = bare(self.name), f"renew it with: python -m pvchat_jax.subjects consent '{bare(self.name)}' --consent=FILE"
        if self.consent is None:
            raise UserError(f"there is no consent of {name}, so nothing is answered about them; {remedy}")
        if not self.consent.date <= today <= self.consent.expires:
            when = f"expired on {self.consent.expires}" if today > self.consent.expires else f"begins on {self.consent.date}"
            raise UserError(f"the consent of {name} {when} and nothing is answered about them; {remedy}")
        if scope not in self.consent.scope:
            raise UserError(f"the consent of {name} covers {', '.join(self.consent.scope)} but not {scope}; {remedy}")


def read_person(folder: Path) -> Person:
    """The person in a folder of a registry.

    Raises:
      UserError: a file is damaged.
    """
    consent = folder / CONSENT_FILE
    return Person(
        folder=folder,
        manifest=read_manifest(folder),
        consent=read_consent(consent) if consent.is_file() else None,
        is_invented=is_invented(folder),
    )


def write_enrolment(folder: Path, *, is_invented: bool) -> None:
    """Notes on what grounds the person is in the registry."""
    write_atomically(folder / ENROLMENT_FILE, json.dumps({"invented": is_invented}) + "\n")


def is_invented(folder: Path) -> bool:
    """Whether the folder says so; in doubt somebody has to agree."""
    try:
        return json.loads((folder / ENROLMENT_FILE).read_text(encoding="utf-8"))["invented"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False
