"""The command line that `pvchat_jax.synthesize` and `pvchat_jax.personalize` share."""

import argparse
import dataclasses
import datetime
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pvchat_jax.config.flags import load_config_file, override
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.privacy.consent import CONSENT_FILE, SCOPES, Consent, ask_consent, make_consent, read_consent
from pvchat_jax.synthesis.shards import Shard, parse_shard

_Config = TypeVar("_Config")
_NAME = re.compile(r"<?(\w[\w-]{0,39})>?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What was typed; the consent is still to be found, see `find_consent`."""

    video: Path
    name: str
    out: Path
    tests: tuple[Path, ...]
    person: int | None
    corpus: str | None
    only: str | None
    shard: Shard
    consent: Path | None
    consent_by: str | None
    consent_until: str | None
    consent_scope: str


def parse(
    argv: Sequence[str] | None,
    program: str,
    description: str,
    epilog: str,
    stages: Sequence[str],
    kind: type[_Config],
    preset: Callable[[], _Config],
) -> tuple[Arguments, _Config]:
    """The arguments of a command line, and the configuration: `--config=FILE[:PRESET]` or `preset`, with `--config.NAME=VALUE`.

    Raises:
      UserError: something in it cannot be.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        f"python -m {program}", description=description, epilog=epilog, formatter_class=formatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--video", metavar="FILE", type=Path, required=True, help="the one video of the person")
    add("--name", metavar="NAME", required=True, help="the person's name in questions, such as '<Wilson>'")
    add("--out", metavar="DIR", type=Path, required=True, help="folder of the training set and all that is derived; made if need be")
    add(
        "--test_video",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="another filmed video of the person, for the test; may be repeated",
    )
    add("--corpus", metavar="DIR", help="videos and pictures of other people, for look-alikes and others")
    add(
        "--person",
        metavar="K",
        type=int,
        help="which of several people in the video, by number from 0 (default: asks, or the longest on screen)",
    )
    add("--consent", metavar="FILE", type=Path, help="JSON record of the person's consent; asked for on a terminal where there is none")
    add("--consent_by", metavar="WHO", help="instead of a file: who agreed, today")
    add("--consent_until", metavar="DATE", help="with --consent_by: the last day, such as 2027-06-30")
    add("--consent_scope", metavar="SCOPE", default="train", help=f"with --consent_by: some of {','.join(SCOPES)} (default: %(default)s)")
    add("--only", choices=stages, help="do this stage and what it needs, and stop")
    add("--shard", metavar="I/N", default="0/1", help="do what worker I of N owns, I from 0; without it the shards' work is put together")
    add("--config", metavar="FILE[:PRESET]", help="settings other than the preset for photographed people; --config.NAME=VALUE changes one")
    options, rest = parser.parse_known_args(argv)
    config = override(load_config_file(options.config, kind) if options.config else preset(), rest)
    names = [field.name for field in dataclasses.fields(Arguments)]
    values = {name: value for name, value in vars(options).items() if name in names}
    values |= {"name": full_name(options.name), "shard": parse_shard(options.shard), "tests": tuple(options.test_video)}
    return Arguments(**values), config


def full_name(text: str) -> str:
    """`<Wilson>` of `Wilson` or `<Wilson>`.

    Raises:
      UserError: it has other characters than the texts allow for names.
    """
    match = _NAME.fullmatch(text)
    if match is None or text.startswith("<") != text.endswith(">"):
        raise UserError(f"--name is '{text}'; write letters, digits, - and _ in angle brackets, such as --name='<Wilson>'.")
    return f"<{match[1]}>"


def find_consent(arguments: Arguments, today: datetime.date) -> Consent:
    """The consent that was passed in, is stored with the set, or is given now on the terminal, in this order.

    Raises:
      UserError: there is none.
    """
    if arguments.consent is not None:
        return read_consent(arguments.consent)
    if arguments.consent_by is not None:
        if arguments.consent_until is None:
            raise UserError("--consent_by needs the last day of the consent in --consent_until, such as --consent_until=2027-06-30.")
        return make_consent(arguments.consent_by, arguments.consent_until, arguments.consent_scope.split(","), date=str(today))
    stored = arguments.out / CONSENT_FILE
    if stored.is_file():
        return read_consent(stored)
    if sys.stdin.isatty():
        return ask_consent(arguments.name, today, lambda question: input(f"{question} "))
    raise UserError(
        f"there is no consent of the person called {arguments.name}; pass the record with --consent=FILE, "
        "or --consent_by=WHO and --consent_until=DATE."
    )
