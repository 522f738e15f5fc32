"""Builds a small world of videos about an invented person.

python -m pvchat_jax.world --out=world --seed=0
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.errors import exit_on_user_error
from pvchat_jax.world.contact_sheet import write_contact_sheet
from pvchat_jax.world.progress import build_with_bar

_DESCRIPTION = """\
Draws short videos of an invented person and of others who may look alike, with exactly known questions and answers, so
that the whole system can be tried without a download. Half of the videos show the person; of the others a half (of train: three quarters)
show somebody who differs in one or two features and wears the same as the person in the reference video. Everything follows
from --seed.

Written to --out: videos/*.mp4 (H.264, 128 x 128 pixels, 16 frames at 8 per second) and what is known of them:
reference.jsonl (the one video of the person that a user would have), train.jsonl, calibration.jsonl (for thresholds; people
and clothes as in training) and test.jsonl, which shares no video, no other person, no outfit in the same scene and no
wording of a question with the rest. An interrupted build continues when it is started again; damaged videos are drawn
again.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.world --out=world
  python -m pvchat_jax.world --out=world --seed=3 --num_train=1000 --num_test=200 --subject='<Ada>'
  python -m pvchat_jax.world --sheet=people.png --seed=3        who is who in this world; makes no videos without --out
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m pvchat_jax.world", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter)
    parser.add_argument("--out", metavar="DIR", type=Path, help="the world's folder; made if it does not exist")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="decides who the person is and all else (default: %(default)s)")
    parser.add_argument("--subject", metavar="NAME", default="<Wilson>", help="the person's name in the texts (default: %(default)s)")
    parser.add_argument("--num_train", metavar="N", type=int, default=400, help="training videos (default: %(default)s)")
    parser.add_argument("--num_calibration", metavar="N", type=int, default=0, help="videos for thresholds (default: %(default)s)")
    parser.add_argument("--num_test", metavar="N", type=int, default=80, help="test videos (default: %(default)s)")
    parser.add_argument("--workers", metavar="N", type=int, help="processes (default: one per processor)")
    parser.add_argument(
        "--sheet",
        metavar="FILE.png",
        type=Path,
        help="also draw a picture of the person in the reference video and in others, and of look-alikes in tests, with captions",
    )
    options = parser.parse_args(arguments)
    if options.out is None and options.sheet is None:
        parser.error("give --out=DIR for a world, --sheet=FILE.png for a picture of its people, or both")
    try:
        with exit_on_user_error():
            if options.sheet is not None:
                write_contact_sheet(options.sheet, seed=options.seed, subject=options.subject)
                print(f"wrote {options.sheet}")
            if options.out is not None:
                _build(options)
    except KeyboardInterrupt:
        print("\ninterrupted; start the same command again to continue.", file=sys.stderr)
        raise SystemExit(130) from None


def _build(options: argparse.Namespace) -> None:
    paths = build_with_bar(
        Console(stderr=True),
        "drawing videos",
        options.out,
        subject=options.subject,
        num_train=options.num_train,
        num_calibration=options.num_calibration,
        num_test=options.num_test,
        seed=options.seed,
        workers=options.workers,
    )
    numbers = (1, options.num_train, options.num_calibration, options.num_test)
    print(f"wrote {', '.join(str(path) for path, number in zip(paths, numbers, strict=True) if number)}")


if __name__ == "__main__":
    sys.exit(main())
