"""Asks trained models about videos that they have not seen and reports how well they answer.

python -m pvchat_jax.evaluate --config=configs/eval.py:tiny
python -m pvchat_jax.evaluate --run=quickstart/wilson/stage2 --records=quickstart/world/test.jsonl
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pvchat_jax.command import nothing_needed, run_command
from pvchat_jax.config.evaluation_schema import EvaluationConfig
from pvchat_jax.config.run_directory import read_config
from pvchat_jax.devices import prepare_jax
from pvchat_jax.distributed.apart import own_share
from pvchat_jax.errors import exit_on_user_error
from pvchat_jax.evaluation.report import print_summary

SOME_FAILED = 1  # the exit status
CARD_FOLDER = "card"

HELP = """\
Asks trained models about videos that they have not seen, beside systems that would expose a cheat: constant answers, the
question without its video, the base model, another person's model, another name.

  python -m pvchat_jax.evaluate --config=configs/eval.py[:PRESET] [--config.NAME=VALUE ...]
  python -m pvchat_jax.evaluate --run=DIR --records=FILE [--out=DIR] [--limit=N]    one run and a report page; see --run --help

Every run is asked with each of its checkpoints and ways to decode, and the videos of a file are encoded once for all of
them. Written to --config.output_dir:
  sweep.json                      the grid, and which items are done or failed
  items/ITEM/answers.jsonl        every answer with all that scoring it takes, and item.json, what answered and how
  card/card.html                  scores with their intervals and with what speaks against them, as python -m pvchat_jax.score
The same command goes on after a stop, and asks more where the grid has grown. It exits with 1 if an item failed.

The settings most often changed:
  --config.runs=DIR,DIR --config.records=FILE,FILE   runs or packs, and their questions in the same order
  --config.checkpoints=100,newest                    steps, or all
  --config.decoding=greedy,num_beams=5,temperature=0.7+top_p=0.9 --config.seeds=0,1,2
  --config.systems=personalized,base                 fewer systems
  --config.tracking.trackers=wandb,mlflow            where the scores go besides TensorBoard

Start the same command on several hosts, or once for each GPU, and they share the work; see pvchat_jax.train --help.
"""
_DESCRIPTION = """\
Asks a trained model every question about a set of test videos and scores the answers, beside what always saying yes,
always saying no and always giving the most common answer would score.

It prints the scores and writes two files beside the answers:
  evaluation.json  scores, and every answer with its verdict
  report.html      one page with tables, curves, active heads, and right and wrong examples; it needs no network

Videos that cannot be read are listed and left out.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.evaluate --run=quickstart/wilson/stage2 --records=quickstart/world/test.jsonl
  python -m pvchat_jax.evaluate --run=runs/8b/stage2 --records=data/wilson/test.jsonl --out=reports/wilson --limit=40
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2, an item of a sweep that failed with 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if any(argument.split("=")[0] in ("--run", "--records") for argument in given):
        _report_run(given)
        return
    run_command(
        "pvchat_jax.evaluate",
        given,
        nothing_needed,
        run,
        description=HELP,
        kind=EvaluationConfig,
        example="configs/eval.py:tiny",
        several_processes=True,
        apart=True,
    )


def run(config: EvaluationConfig) -> None:
    """Does this process's share of a sweep.

    Raises:
      UserError: a setting is wrong.
      SystemExit: an item failed.
    """
    from pvchat_jax.evaluation.card.make import PAGE_FILE, write_card
    from pvchat_jax.sweeps.results import DONE, FAILED, OPEN
    from pvchat_jax.sweeps.run import run_sweep  # imports jax
    from pvchat_jax.sweeps.tables import print_sweep

    share = own_share()
    console = Console(quiet=share.index != 0)
    entries = run_sweep(config, console, share)
    out = Path(config.output_dir)
    print_sweep(console, out, entries)
    states = [entry["state"] for entry in entries]
    if DONE in states and OPEN not in states:  # the process that comes last finds it so
        write_card(out, out / CARD_FOLDER, console=console)
        console.print(Text(f"Card: {out / CARD_FOLDER / PAGE_FILE}"))
    if FAILED in states:
        raise SystemExit(SOME_FAILED)


def _report_run(arguments: Sequence[str]) -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.evaluate", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("--run", metavar="DIR", type=Path, required=True, help="output directory of a training run, or a pack")
    records_help = "questions and answers: a .jsonl of records, or a .json of the original project"
    parser.add_argument("--records", metavar="FILE", type=Path, required=True, help=records_help)
    parser.add_argument("--out", metavar="DIR", type=Path, help="where everything goes (default: evaluation/ in the run's directory)")
    parser.add_argument("--limit", metavar="N", type=_positive, help="ask about N videos only, half of them with the subject if possible")
    options = parser.parse_args(arguments)
    console, out = Console(), options.out or options.run / "evaluation"
    with exit_on_user_error():
        read_config(options.run)  # at once; the rest takes seconds to import
        prepare_jax()
        from pvchat_jax.sweeps.single import HTML_FILE, evaluate_run

        evaluation = evaluate_run(options.run, options.records, out, limit=options.limit, console=console)
        print_summary(evaluation, console)
    console.print(Text(f"Report: {out}{os.sep}{HTML_FILE}"))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
