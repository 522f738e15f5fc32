"""What a registry and its people look like on a terminal."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import PresenceCalibration, read_calibration
from pvchat_jax.registry.names import bare
from pvchat_jax.registry.person import Person
from pvchat_jax.synthesis.consent import CONSENT_FILE, Consent, read_consent
from pvchat_jax.synthesis.personal_data import Place, contents, total


def people_table(people: Sequence[Person], folder: Path, today: datetime.date) -> Table:
    """Who is enrolled, whether they may be asked about today, and how sure a yes is."""
    table = Table("name", "consent", "false accepts", "MB", title=f"enrolled in {folder}", title_justify="left")
    for person in people:
        table.add_row(bare(person.name), consent_text(person, today), _error_rate(person.folder), f"{total(person.folder).bytes / 1e6:.1f}")
    return table


def person_lines(person: Person, today: datetime.date) -> list[str]:
    """All there is to say of one person."""
    manifest = person.manifest
    lines = [
        f"{bare(person.name)}: enrolled in {person.folder}, written {person.name} in questions",
        f"consent: {consent_text(person, today)}",
        f"pack: step {manifest.step} of stage {manifest.config.stage}, on {'; '.join(manifest.records)}",
        f"base: {manifest.base_fingerprint[:16]}",
        f"presence: {_calibration_text(read_calibration(person.folder))}",
    ]
    files = [f"{path.name} {path.stat().st_size / 1e6:.2f} MB" for path in sorted(person.folder.iterdir())]
    return [*lines, f"files: {', '.join(files)}"]


def consent_text(person: Person, today: datetime.date) -> str:
    """Such as `train, share by Wilson, until 2027-06-30`."""
    if person.is_invented:
        return "invented, none needed"
    if person.consent is None:
        return "none"
    return _agreement(person.consent, today)


def places_table(places: Sequence[Place], title: str | None, today: datetime.date) -> Table:
    """Folders about people, in a row each."""
    table = Table("name", "what", "where", "files", "MB", "consent", title=title, title_justify="left")
    for place in places:
        amount = total(place.folder)
        row = (bare(place.name), place.kind, str(place.folder), str(amount.files), f"{amount.bytes / 1e6:.1f}", _agreed(place, today))
        table.add_row(*row)
    return table


def place_details(places: Sequence[Place], today: datetime.date) -> list[Table | str]:
    """What lies in each of the folders."""
    shown: list[Table | str] = []
    for place in places:
        table = Table("what", "files", "MB", title=f"{bare(place.name)}: {place.kind} in {place.folder}", title_justify="left")
        for name, amount in contents(place.folder).items():
            table.add_row(name, str(amount.files), f"{amount.bytes / 1e6:.1f}")
        shown.append(table)
        if place.kind == "training set":
            shown.append(f"consent: {_agreed(place, today)}\nfilmed in: {place.values.get('video')}")
    return shown


def _agreed(place: Place, today: datetime.date) -> str:
    if not (place.folder / CONSENT_FILE).is_file():
        return "" if place.kind != "training set" else "none"
    try:
        return _agreement(read_consent(place.folder / CONSENT_FILE), today)
    except UserError:
        return "damaged"


def _agreement(consent: Consent, today: datetime.date) -> str:
    if today < consent.date:
        return f"{', '.join(consent.scope)} by {consent.given_by}, not before {consent.date}"
    return f"{', '.join(consent.scope)} by {consent.given_by}, {'expired' if today > consent.expires else 'until'} {consent.expires}"


def _error_rate(folder: Path) -> str:
    try:
        calibration = read_calibration(folder)
    except UserError:
        return "damaged"
    return f"{calibration.false_accepts:.0%} (below {calibration.bound:.0%})" if calibration.bound is not None else "not calibrated"


def _calibration_text(calibration: PresenceCalibration) -> str:
    if calibration.bound is None or calibration.measured is None or calibration.missed is None:
        return "not calibrated; python -m pvchat_jax.subjects calibrate --help"
    return (
        f"stated false accepts {calibration.false_accepts:.1%}; {calibration.measured:.1%} of {calibration.num_look_alikes} held-out "
        f"look-alikes were called present, which with 95 % confidence is below {calibration.bound:.1%} of others; "
        f"{calibration.missed:.1%} of {calibration.num_present} clips with the person were called absent"
    )
