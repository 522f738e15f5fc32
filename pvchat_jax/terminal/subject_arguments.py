"""The command line of `python -m pvchat_jax.subjects`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pvchat_jax.registry.registry import DEFAULT_REGISTRY

_DESCRIPTION = """\
Keeps the people who can be asked about: each is one small pack in the registry, over one base model that never changes.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.subjects add data/wilson/stage2
  python -m pvchat_jax.subjects add quickstart/wilson/stage2 --invented
  python -m pvchat_jax.subjects export Wilson wilson.zip          # for a colleague with the same base, if the consent covers share
  python -m pvchat_jax.subjects import wilson.zip
  python -m pvchat_jax.subjects calibrate Wilson --records=data/wilson/calibration.jsonl
  python -m pvchat_jax.subjects interference --records=data/wilson/test.jsonl --records=data/ann/test.jsonl
  python -m pvchat_jax.subjects forget Wilson --yes
"""
_FORGET = """\
Erases everything that was derived from the person: the pack in the registry, rows in indices of recordings, training sets, runs and
packs in the roots. Writes a receipt without personal data. The video that was filmed stays yours to delete.
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was typed; `action` is one of the subcommands."""
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.subjects",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help: str, description: str | None = None) -> argparse.ArgumentParser:
        own = actions.add_parser(name, help=help, description=description or help, allow_abbrev=False)
        own.add_argument("--registry", metavar="DIR", type=Path, default=DEFAULT_REGISTRY, help="of enrolled people (default: %(default)s)")
        return own

    _with_roots(action("list", "everybody, with consent and error rate, and training sets and runs elsewhere"))
    _with_roots(_with_name(action("show", "all about a person: pack, calibration, files, and what lies elsewhere")))
    for name, help in (("add", "enrols the person of a training run, or of a pack"), ("import", "enrols a person from what export wrote")):
        own = action(name, help)
        own.add_argument("source", metavar="RUN_OR_PACK", type=Path, help="output_dir of a run, a pack, or a .zip of export")
        own.add_argument("--name", metavar="NAME", help="instead of the one that was learnt")
        own.add_argument("--consent", metavar="FILE", type=Path, help="JSON record of the consent (default: what lies with the source)")
        own.add_argument("--invented", action="store_true", help="nobody has to agree, because there is no such person")
    own = _with_name(action("export", "writes a person as one file (.zip) or a folder, to hand on"))
    own.add_argument("destination", metavar="DST", type=Path, help="a new file that ends in .zip, or a new folder")
    own = _with_name(action("rename", "gives a person another name; what was learnt stays"))
    own.add_argument("new_name", metavar="NEW", help="with or without angle brackets")
    own = _with_name(action("consent", "replaces the record of a person's consent"))
    own.add_argument("--consent", metavar="FILE", type=Path, required=True, help="JSON record of the new consent")
    own = _with_name(action("calibrate", "chooses what is present, absent or unsure, for a stated rate of false accepts"))
    own.add_argument("--records", metavar="FILE", type=Path, required=True, help="held-out clips: with the person and of look-alikes")
    own.add_argument(
        "--false_accepts", metavar="RATE", type=float, default=0.05, help="of look-alikes called present (default: %(default)s)"
    )
    own = action("interference", "who is taken for whom, and whether people change each other's answers")
    own.add_argument("--records", metavar="FILE", type=Path, action="append", required=True, help="test clips of one person; once for each")
    own.add_argument("--out", metavar="FILE", type=Path, help="writes the numbers as JSON too")
    own = _with_roots(_with_name(action("forget", "erases all of a person, everywhere", _FORGET)))
    own.add_argument("--receipts", metavar="DIR", type=Path, help="where the receipt goes (default: receipts/ in the first root)")
    own.add_argument("--yes", action="store_true", help="without asking, for scripts")
    return parser.parse_args(arguments)


def _with_name(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="of the person, with or without angle brackets")
    return parser


def _with_roots(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    help = "where else to look, may be repeated (default: data and runs, if there are)"
    parser.add_argument("--root", metavar="DIR", type=Path, action="append", help=help)
    return parser
