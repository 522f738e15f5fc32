"""Runs our model on what the original PyTorch code was given and compares every recorded stage.

    python -m converters.verify --goldens DIR --name A [--train] [--report FILE.json]
    python -m converters.verify --checkpoint DIR --io FILE.npz [--config FILE.json] [--report FILE.json]

The first form takes sizes and weights from the recorded set A. The second verifies weights of your own on recorded inputs and
outputs: files of the original, or a directory that converters.from_torch wrote. docs/conversion.md says how to record a set.
Exits with 0 if everything that was compared agrees, with 1 if something differs, and with 2 if it could not be done.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.devices import keep_compiled_programs
from pvchat_jax.errors import UserError, exit_on_user_error

PLAIN_WIDTH = 140


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m converters.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--goldens", type=Path, metavar="DIR", help="directory with recorded sets")
    parser.add_argument("--name", help="which of the sets, such as A for A_config.json")
    parser.add_argument("--train", action="store_true", help="replay the recorded training steps of the set as well")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="weights of the original, or converted ones")
    parser.add_argument("--io", type=Path, metavar="FILE.npz", help="recorded inputs and outputs for the checkpoint")
    parser.add_argument("--config", type=Path, metavar="FILE.json", help="sizes, where they are not those of the published model")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="write the result with versions and machine to this file")
    options = parser.parse_args(arguments)
    if (options.goldens is None) == (options.checkpoint is None):
        parser.error("give either --goldens and --name, or --checkpoint and --io")
    if options.goldens is not None and options.name is None:
        parser.error("--goldens needs --name")
    if options.report is not None and options.report.is_dir():
        parser.error(f"--report {options.report} is a folder; name a file in it")
    if options.checkpoint is not None and (options.io is None or options.train):
        parser.error("--checkpoint needs --io, and goes without --train")
    with exit_on_user_error():
        # in a file or a pipe rich would fold every name to fit 80 columns
        return _verify(options, Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH))


def _verify(options: argparse.Namespace, console: Console) -> int:
    keep_compiled_programs()
    # Slow imports, after everything that may be wrong with the arguments.
    from converters.recordings import CONFIG_SUFFIX, IO_SUFFIX, TRAIN_SUFFIX, load_set, load_training
    from converters.verification.checkpoints import load_checkpoint
    from converters.verification.comparison import NOT_COMPARED
    from converters.verification.recording import compare_recording
    from converters.verification.report import first_difference, print_report, write_report
    from converters.verification.training import compare_training, replay

    with console.status("reading the weights") as status:
        if options.checkpoint:
            recording, files = load_checkpoint(options.checkpoint, options.io, options.config), [options.io]
            source = "a checkpoint"
        else:
            recording = load_set(options.goldens, options.name)
            files = [options.goldens / f"{options.name}{suffix}" for suffix in (CONFIG_SUFFIX, IO_SUFFIX)]
            source = "the recorded set"
        comparisons = list(compare_recording(recording, status.update))
        if options.train:
            status.update("recorded training steps")
            recorded = load_training(options.goldens, options.name)
            comparisons += compare_training(recording, recorded, replay(recording, recorded))
            files.append(options.goldens / f"{options.name}{TRAIN_SUFFIX}")
    if all(comparison.verdict == NOT_COMPARED for comparison in comparisons):
        raise UserError(f"nothing in {files[-1]} can be compared; record the stages that tests/goldens/README.md names.")
    print_report(recording, comparisons, console)
    if options.report:
        write_report(options.report, recording, comparisons, files, source)
        console.print(f"Report: {options.report}", markup=False)
    return 1 if first_difference(comparisons) else 0


if __name__ == "__main__":
    sys.exit(main())
