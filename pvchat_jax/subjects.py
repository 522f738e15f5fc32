"""Keeps the people who can be asked about: `python -m pvchat_jax.subjects list`, or `--help`."""

import argparse
import datetime
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.registry.enrolling import Grounds, enrol
from pvchat_jax.registry.handing_over import export_person
from pvchat_jax.registry.names import bare, is_same
from pvchat_jax.registry.registry import DEFAULT_REGISTRY, Registry
from pvchat_jax.registry.tables import people_table, person_lines, place_details, places_table
from pvchat_jax.synthesis.consent import read_consent
from pvchat_jax.synthesis.forgetting import RECEIPTS_FOLDER, forget
from pvchat_jax.synthesis.personal_data import find_places, places_of
from pvchat_jax.terminal.subject_arguments import parse
from pvchat_jax.timeline.forgetting import erase_person

_ROOTS = ("data", "runs")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    options = parse(arguments)
    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    with exit_on_user_error():
        if options.registry != DEFAULT_REGISTRY and options.action not in ("add", "import") and not options.registry.is_dir():
            raise UserError(f"there is no folder {options.registry}; correct --registry.")
        _ACTIONS[options.action](options, Registry(options.registry), console)


def _add(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    prepare_jax()
    grounds = Grounds(
        consent=read_consent(options.consent) if options.consent else None,
        is_invented=options.invented,
        ask=(lambda question: console.input(f"{question} ")) if sys.stdin.isatty() else None,
    )
    person = enrol(registry, options.source, name=options.name, grounds=grounds, today=_today())
    console.print(f"enrolled {bare(person.name)}; ask with: python -m pvchat_jax.chat --subject='{bare(person.name)}' --video=FILE")


def _export(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    export_person(registry.person(options.name), options.destination, _today())
    console.print(f"wrote {options.destination}; where the same base is: python -m pvchat_jax.subjects import {options.destination}")


def _rename(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    old = bare(registry.person(options.name).name)
    console.print(f"{old} is called {bare(registry.rename(options.name, options.new_name).name)} now")


def _consent(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    registry.renew_consent(options.name, read_consent(options.consent))
    _lines(options, registry, console)


def _calibrate(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    registry.person(options.name)
    prepare_jax()
    from pvchat_jax.terminal.measuring import calibrate  # seconds

    calibrate(registry, options.name, options.records, options.false_accepts, console)
    _lines(options, registry, console)


def _interference(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    prepare_jax()
    from pvchat_jax.terminal.measuring import compare  # seconds

    compare(registry, options.records, options.out, console)


def _list(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    people = registry.people()
    if people:
        console.print(people_table(people, registry.folder, _today()))
    places = find_places(_roots(options))
    if places:
        console.print(places_table(places, "elsewhere" if people else None, _today()))
    elif not people:
        console.print("There is nobody here; --registry=DIR and --root=DIR name where to look.")


def _show(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    if any(is_same(person.name, options.name) for person in registry.people()):
        _lines(options, registry, console)
        places = [place for place in find_places(_roots(options)) if is_same(place.name, options.name)]
    else:
        places = places_of(options.name, find_places(_roots(options)))
    console.print(*place_details(places, _today()), sep="\n")


def _lines(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    console.print("\n".join(person_lines(registry.person(options.name), _today())))


def _forget(options: argparse.Namespace, registry: Registry, console: Console) -> None:
    roots = [*_roots(options), *([registry.folder] if registry.folder.is_dir() else [])]
    places = places_of(options.name, find_places(roots))
    console.print(*place_details(places, _today()), sep="\n")
    name, videos = bare(places[0].name), {place.values.get("video") for place in places if place.kind == "training set"}
    if not options.yes and (not sys.stdin.isatty() or console.input(f"Erase all of this? Type {name}: ").strip() != name):
        raise UserError(f"nothing was erased; type {name} when asked, or add --yes.")
    receipts = options.receipts or roots[0] / RECEIPTS_FOLDER
    rows = {"index rows": lambda: sum(erase_person(root, name) for root in roots)}
    receipt = forget(places, receipts, datetime.datetime.now(datetime.UTC), rows)
    left = [str(video) for video in videos if video and Path(video).exists()]
    console.print(f"erased {name}; receipt: {receipt}")
    if left:
        console.print(f"The filmed video is yours and was left: {', '.join(left)}")


def _roots(options: argparse.Namespace) -> list[Path]:
    roots: list[Path] = options.root or [Path(root) for root in _ROOTS if Path(root).is_dir()]
    if missing := next((root for root in roots if not root.is_dir()), None):
        raise UserError(f"there is no folder {missing}; correct --root.")
    return roots


def _today() -> datetime.date:
    return datetime.date.today()


_ACTIONS: dict[str, Callable[[argparse.Namespace, Registry, Console], None]] = {
    "list": _list,
    "show": _show,
    "add": _add,
    "import": _add,
    "export": _export,
    "rename": _rename,
    "consent": _consent,
    "calibrate": _calibrate,
    "interference": _interference,
    "forget": _forget,
}

if __name__ == "__main__":
    sys.exit(main())
