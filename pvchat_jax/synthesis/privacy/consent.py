"""The record that a person agreed to be learnt: who agreed, when, to what, and until when. It lies with the training set."""

import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvchat_jax.data.json_fields import ObjectReader, Problem, parse_json, read_text
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

CONSENT_FILE = "consent.json"
# What may be agreed to: making a training set and training on it; handing the result to others; frames to another machine.
SCOPES = ("train", "share", "remote")
LONGEST_DAYS = 3 * 366  # a consent without a foreseeable end is none
_FIELDS = ("given_by", "date", "scope", "expires")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consent:
    """What was agreed.

    Attributes:
      given_by: who agreed: the person shown, or who may decide for them.
      date: of the agreement. expires: the last day on which it holds.
      scope: some of `SCOPES`, with `train` among them.
    """

    given_by: str
    date: datetime.date
    scope: tuple[str, ...]
    expires: datetime.date

    def __post_init__(self) -> None:
        if not self.given_by.strip():
            raise ValueError("given_by is empty; name who agreed")
        if unknown := sorted(set(self.scope) - set(SCOPES)):
            raise ValueError(f"scope has unknown {', '.join(unknown)}; known are {', '.join(SCOPES)}")
        if "train" not in self.scope:
            raise ValueError("scope lacks 'train', without which nothing may be made")
        if self.expires < self.date:
            raise ValueError(f"expires {self.expires} is before the date {self.date}")
        if (self.expires - self.date).days > LONGEST_DAYS:
            raise ValueError(f"expires {self.expires} is more than three years after {self.date}; ask again before that")

    def to_json(self) -> dict[str, Any]:
        """As the file has it."""
        return {"given_by": self.given_by, "date": str(self.date), "scope": list(self.scope), "expires": str(self.expires)}


def read_consent(path: Path) -> Consent:
    """The consent that a JSON file records: `{"given_by": "...", "date": "2026-01-31", "scope": ["train"], "expires": "2026-12-31"}`.

    Raises:
      UserError: the file cannot be read or its first wrong field.
    """
    try:
        value = parse_json(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} {error}.") from None
    problems: list[Problem] = []
    reader = ObjectReader(value, file=str(path), record="", problems=problems)
    if reader.is_object:
        reader.refuse_unknown(_FIELDS)
        fields = {name: reader.text(name) for name in ("given_by", "date", "expires")}
        scope = reader.get("scope", list)
    if problems:
        raise UserError(str(problems[0]))
    try:
        return make_consent(fields["given_by"], fields["expires"], [str(part) for part in scope], date=fields["date"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def make_consent(given_by: str, expires: str, scope: list[str], *, date: str) -> Consent:
    """A consent from texts, dates as YEAR-MONTH-DAY.

    Raises:
      UserError: a date cannot be read, or the parts do not hold together.
    """
    dates = {}
    for name, text in {"date": date, "expires": expires}.items():
        try:
            dates[name] = datetime.date.fromisoformat(text)
        except ValueError:
            raise UserError(f"the consent's field {name} is '{text}'; write a date such as 2026-12-31.") from None
    try:
        return Consent(given_by=given_by, scope=tuple(dict.fromkeys(scope)), **dates)
    except ValueError as error:
        raise UserError(f"the consent's {error}.") from None


def ask_consent(name: str, today: datetime.date, ask: Callable[[str], str]) -> Consent:
    """Asks on a terminal; `ask` shows a line and returns what was typed.

    Raises:
      UserError: it was not given.
    """
    agreed = ask(f"Faces are personal data. Has the person called {name} agreed to be learnt from this video? [yes/no]")
    if agreed.strip().lower() not in ("y", "yes"):
        raise UserError(f"without the consent of the person called {name} nothing is made; ask them first.")
    given_by = ask("Who agreed (the person's own name, or who decides for them)?")
    in_a_year = today + datetime.timedelta(days=365)
    expires = ask(f"Until when does it hold? [{in_a_year}]").strip() or str(in_a_year)
    scope = ask("To what, besides making a training set and training: any of share, remote, or nothing? []")
    return make_consent(given_by, expires, ["train", *scope.replace(",", " ").split()], date=str(today))


def write_consent(folder: Path, consent: Consent) -> None:
    """Stores the record with the training set in `folder`."""
    write_atomically(folder / CONSENT_FILE, json.dumps(consent.to_json(), ensure_ascii=False, indent=2) + "\n")


def require_consent(consent: Consent, today: datetime.date, scope: str = "train") -> None:
    """Refuses what the consent does not cover today.

    Raises:
      UserError: it expired, lies in the future, or lacks `scope`.
    """
    if not consent.date <= today <= consent.expires:
        raise UserError(
            f"the consent given by {consent.given_by} holds from {consent.date} to {consent.expires}, which today, {today}, is outside of; "
            "ask again and pass the new record with --consent=FILE."
        )
    if scope not in consent.scope:
        raise UserError(
            f"the consent given by {consent.given_by} covers {', '.join(consent.scope)} but not {scope}; "
            "ask for it and pass the new record with --consent=FILE."
        )
