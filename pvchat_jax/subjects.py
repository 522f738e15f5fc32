"""Shows what there is of people who were learnt, and erases them: `python -m pvchat_jax.subjects list`, or `--help`."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.synthesis.privacy.consent import CONSENT_FILE, read_consent
from pvchat_jax.synthesis.privacy.forgetting import RECEIPTS_FOLDER, forget
from pvchat_jax.synthesis.privacy.personal_data import CONSENTS_FOLDER, JOINT_SET, Place, bare, contents, find_places, places_of, total

_DESCRIPTION = """\
Shows and erases everything that was derived from a person: training sets of python -m pvchat_jax.synthesize with what
python -m pvchat_jax.personalize made in them, joint sets of python -m pvchat_jax.join, which go with any of their people,
and training runs and packs elsewhere that name the person.

  list          everybody, with the consent that was given
  show NAME     every place of a person, and what lies there
  forget NAME   erases all of it, and writes a receipt without personal data; the video that was filmed stays yours to delete
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.subjects list
  python -m pvchat_jax.subjects show Wilson --root=data --root=runs
  python -m pvchat_jax.subjects forget Wilson --yes
"""
_ROOTS = ("data", "runs")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.subjects", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("action", choices=("list", "show", "forget"), help="what to do")
    parser.add_argument("name", metavar="NAME", nargs="?", help="of the person, with or without angle brackets")
    parser.add_argument(
        "--root", metavar="DIR", type=Path, action="append", help="where to look, may be repeated (default: data and runs, if there are)"
    )
    parser.add_argument("--receipts", metavar="DIR", type=Path, help="where the receipt goes (default: receipts/ in the first root)")
    parser.add_argument("--yes", action="store_true", help="forget without asking, for scripts")
    options = parser.parse_args(arguments)
    if (options.name is None) != (options.action == "list"):
        parser.error("list takes no NAME" if options.action == "list" else f"{options.action} needs a NAME; list shows them")
    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    with exit_on_user_error():
        roots = options.root or [Path(root) for root in _ROOTS if Path(root).is_dir()]
        if missing := next((root for root in roots if not root.is_dir()), None):
            raise UserError(f"there is no folder {missing}; correct --root.")
        places = find_places(roots)
        if options.action == "list":
            _list(places, console)
            return
        own = places_of(options.name, places)
        for place in own:
            _show(place, console)
        if options.action == "forget":
            _forget(own, options.receipts or roots[0] / RECEIPTS_FOLDER, options.yes, console)


def _list(places: Sequence[Place], console: Console) -> None:
    table = Table("name", "what", "where", "files", "MB", "consent")
    for place in places:
        amount = total(place.folder)
        table.add_row(
            bare(place.name), place.kind, str(place.folder), str(amount.files), f"{amount.bytes / 1e6:.1f}", _consent(place, _today())
        )
    console.print(table if places else "There is nobody here; --root=DIR names where to look.")


def _show(place: Place, console: Console) -> None:
    table = Table("what", "files", "MB", title=f"{bare(place.name)}: {place.kind} in {place.folder}", title_justify="left")
    for name, amount in contents(place.folder).items():
        table.add_row(name, str(amount.files), f"{amount.bytes / 1e6:.1f}")
    console.print(table)
    if place.kind == "training set":
        console.print(f"consent: {_consent(place, _today())}\nfilmed in: {place.values.get('video')}")


def _consent(place: Place, today: datetime.date) -> str:
    path = place.folder / (f"{CONSENTS_FOLDER}/{bare(place.name)}.json" if place.kind == JOINT_SET else CONSENT_FILE)
    if not path.is_file():
        return "" if place.kind != "training set" else "none"
    try:
        consent = read_consent(path)
    except UserError:
        return "damaged"
    state = "expired" if today > consent.expires else "until"
    return f"{', '.join(consent.scope)} by {consent.given_by}, {state} {consent.expires}"


def _forget(places: Sequence[Place], receipts: Path, sure: bool, console: Console) -> None:
    name, videos = places[0].name, {place.values.get("video") for place in places if place.kind == "training set"}
    if not sure and (not sys.stdin.isatty() or console.input(f"Erase all of this? Type {bare(name)}: ").strip() != bare(name)):
        raise UserError(f"nothing was erased; type {bare(name)} when asked, or add --yes.")
    receipt = forget(places, receipts, datetime.datetime.now(datetime.UTC))
    left = [str(video) for video in videos if video and Path(video).exists()]
    console.print(f"erased {bare(name)}; receipt: {receipt}")
    if left:
        console.print(f"The filmed video is yours and was left: {', '.join(left)}")


def _today() -> datetime.date:
    return datetime.date.today()


if __name__ == "__main__":
    sys.exit(main())
