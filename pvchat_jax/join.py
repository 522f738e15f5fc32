"""From training sets of several people to one about all of them: `python -m pvchat_jax.join SET SET --out=DIR`, or `--help`."""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from configs import stage2, synthesis
from pvchat_jax.config.flags import load_config_file, override
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import exit_on_user_error
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.backends import choose_backends
from pvchat_jax.synthesis.joining.joint_set import JointOutcome, join
from pvchat_jax.synthesis.joining.parts import Part, read_parts
from pvchat_jax.synthesis.privacy.consent import require_consent
from pvchat_jax.synthesis.privacy.personal_data import CONSENTS_FOLDER, bare, claim_jointly
from pvchat_jax.synthesis.progress import ProgressReport
from pvchat_jax.synthesis.stages import StageStore

_DESCRIPTION = """\
Joins the training sets of two or three people, made by python -m pvchat_jax.synthesize with the same face reader, into one
in which they are seen in every combination: takes over all their clips, looks for everybody in each, puts clips of the
people and of others together, beside each other or, where that would cut faces, one after the other, and asks about each
person and about all at once.

Written to --out, for each NAME: train_NAME.jsonl, stage1_NAME.jsonl, calibration_NAME.jsonl and test_NAME.jsonl, besides
original_json/ about all of them, verdict.json, clips.jsonl, set_aside.jsonl, clips/, stills/ and stages/.

It is personal data of everybody in it: python -m pvchat_jax.subjects forget NAME erases it with any of them.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.join data/wilson data/ada --out=data/both
  python -m pvchat_jax.join data/wilson data/ada --out=data/both --config=configs/synthesis.py:tiny --config.num_clips=200
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exits with 2 for a `UserError`, and with 1 when the set is not good enough to train on."""
    prepare_jax()
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.join", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("sets", metavar="SET", type=Path, nargs="+", help="folder of a training set")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the joint set; made if need be")
    parser.add_argument(
        "--config", metavar="FILE[:PRESET]", help="settings, as of python -m pvchat_jax.synthesize; --config.NAME=VALUE changes one"
    )
    options, rest = parser.parse_known_args(argv)
    console = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
    try:
        with exit_on_user_error():
            config = override(load_config_file(options.config, SynthesisConfig) if options.config else synthesis.get_config(), rest)
            outcome = _join(options.sets, options.out, config, console)
    except KeyboardInterrupt:
        print("\ninterrupted; start the same command again to continue.", file=sys.stderr)
        raise SystemExit(130) from None
    if outcome.problems:
        raise SystemExit(1)


def _join(folders: Sequence[Path], out: Path, config: SynthesisConfig, console: Console) -> JointOutcome:
    backends = choose_backends(config, stage2.get_config("tiny"), out)
    parts = read_parts(folders, backends.reader)
    today = datetime.date.today()
    for part in parts:
        require_consent(part.consent, today)
        if backends.captioner.leaves_machine:
            require_consent(part.consent, today, "remote")
    claim_jointly(out, [part.name for part in parts])
    _store_consents(out, parts)
    store = StageStore(out)
    with ProgressReport(console, store) as report:
        outcome = join(parts, store, backends, config, report.stage)
    table = Table("who is there", *outcome.combinations, title="clips", title_justify="left")
    for who in outcome.combinations["train"]:
        table.add_row(who, *(str(counts[who]) for counts in outcome.combinations.values()))
    console.print(table)
    for problem in outcome.problems:
        console.print(f"Problem: {problem}.")
    console.print("Not good enough to train on." if outcome.problems else "Good enough to train on.")
    console.print(f"{outcome.num_aside} things were set aside; wrote {', '.join(str(path) for path in outcome.files.values())}")
    return outcome


def _store_consents(out: Path, parts: Sequence[Part]) -> None:
    for part in parts:
        path = out / CONSENTS_FOLDER / f"{bare(part.name)}.json"
        write_atomically(path, json.dumps(part.consent.to_json(), ensure_ascii=False, indent=2) + "\n")


if __name__ == "__main__":
    main()
