"""From one video of a person to a training set: `python -m pvchat_jax.synthesize --video=FILE --name=NAME --out=DIR`, or `--help`."""

import sys
from collections.abc import Sequence

from rich.console import Console

from configs import stage2, synthesis
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import exit_on_user_error
from pvchat_jax.synthesis.arguments import parse
from pvchat_jax.synthesis.command import run_synthesis
from pvchat_jax.synthesis.pipeline import STAGES

PROGRAM = "pvchat_jax.synthesize"
_DESCRIPTION = """\
Turns one video of a person into a training set: finds the person, makes clips of them and of look-alikes and others
through the same generators, checks every clip, and asks four kinds of questions about each.

What has been done is kept, so the same command goes on where it was stopped, and with other settings only what they
change is made anew. What cannot be used is set aside with its reason, and the rest goes on.

Written to --out, which holds everything that is derived from the person:
  train.jsonl, stage1.jsonl   for both stages of training; calibration.jsonl for the threshold between yes and no;
                              test.jsonl from --test_video and the corpus, in which nothing is made
  original_json/              the same in the layout of the original project
  contact_sheet.html          what was made, and rejected; look at it first. verdict.json: good enough, and what to film next
  consent.json, manifest.json, statistics.json, face.json, clips.jsonl, set_aside.jsonl, clips/, stills/, stages/

Nothing leaves this machine unless --config.allow_remote=True and the consent say so. Erase everything with
python -m pvchat_jax.subjects forget NAME. Sets of two or three people are joined by python -m pvchat_jax.join.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.synthesize --video=wilson.mp4 --name='<Wilson>' --out=data/wilson --corpus=faces
  python -m pvchat_jax.synthesize --video=wilson.mp4 --name='<Wilson>' --out=data/wilson --consent_by=Wilson --consent_until=2027-06-30
  python -m pvchat_jax.synthesize --video=wilson.mp4 --name='<Wilson>' --out=data/wilson --only=find
  python -m pvchat_jax.synthesize --video=world/videos/reference.mp4 --name='<Wilson>' --out=data/drawn --config=configs/synthesis.py:tiny
  ... --config=configs/synthesis.py:tiny --config.captioner=truth --config.truth=world/reference.jsonl,world/train.jsonl

On several machines with one shared folder, start --shard=0/8 to --shard=7/8 and then the same without --shard;
launch/slurm_array.sh and launch/k8s_shards.sh do.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exits with 2 for a `UserError`, and with 1 when the set is not good enough to train on."""
    prepare_jax()
    try:
        with exit_on_user_error():
            arguments, config = parse(argv, PROGRAM, _DESCRIPTION, _EPILOG, list(STAGES), SynthesisConfig, synthesis.get_config)
            outcome = run_synthesis(arguments, config, stage2.get_config("tiny"), Console())
    except KeyboardInterrupt:
        print("\ninterrupted; start the same command again to continue.", file=sys.stderr)
        raise SystemExit(130) from None
    if outcome is not None and not outcome.verdict.is_good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
