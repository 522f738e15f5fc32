"""Taking somebody into a registry: where the consent comes from, and what is refused."""

import dataclasses
import datetime
from collections.abc import Callable
from pathlib import Path

from pvchat_jax.errors import UserError
from pvchat_jax.registry.handing_over import as_pack
from pvchat_jax.registry.names import bare
from pvchat_jax.registry.person import Person, is_invented
from pvchat_jax.registry.registry import Registry
from pvchat_jax.synthesis.consent import CONSENT_FILE, Consent, ask_consent, read_consent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grounds:
    """On what somebody is enrolled.

    Attributes:
      consent: a record that was passed in.
      is_invented: whether nobody has to agree, because there is no such person.
      ask: shows a line and returns what was typed; None where there is nobody to ask.
    """

    consent: Consent | None = None
    is_invented: bool = False
    ask: Callable[[str], str] | None = None


def enrol(registry: Registry, source: Path, *, name: str | None, grounds: Grounds, today: datetime.date) -> Person:
    """Enrols the person of a training run, of a pack, or of a file that export made.

    The consent is the one passed in, else the one that lies with the source or with the training set around it, else it is asked for.

    Raises:
      UserError: the source cannot be used, the name is taken, or nobody agreed for today.
    """
    with as_pack(source) as pack:
        found = next((folder for folder in (pack, source, source.absolute().parent) if (folder / CONSENT_FILE).is_file()), None)
        invented = grounds.is_invented or is_invented(pack)
        consent = grounds.consent
        if consent is None and not invented and found is not None:
            consent = read_consent(found / CONSENT_FILE)
        if consent is None and not invented:
            consent = _ask(source, name, today, grounds.ask)
        if consent is not None and not consent.date <= today <= consent.expires:
            raise UserError(
                f"the consent given by {consent.given_by} holds from {consent.date} to {consent.expires} and not today; "
                "ask again and pass the new record with --consent=FILE."
            )
        return registry.enrol(pack, name=name, consent=consent, is_invented=invented)


def _ask(source: Path, name: str | None, today: datetime.date, ask: Callable[[str], str] | None) -> Consent:
    if ask is None:
        raise UserError(
            f"there is no consent with {source}; pass the record with --consent=FILE, or --invented for somebody who does not exist."
        )
    return ask_consent(bare(name) if name else "in this pack", today, ask)
