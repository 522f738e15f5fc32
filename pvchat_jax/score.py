"""Scores answers that are already there, and writes a card that can be believed.

python -m pvchat_jax.score evaluations/wilson --out=cards/wilson
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pvchat_jax.errors import exit_on_user_error
from pvchat_jax.evaluation.card.card import Card
from pvchat_jax.evaluation.card.gate import GATED, Change, check_gate
from pvchat_jax.evaluation.card.make import PAGE_FILE, CardOptions, write_card

_DESCRIPTION = """\
Scores the answers of a sweep, of a single evaluation (evaluation.json), or of a result file of the original project or
of its baselines ({"results": [...]}), beside constant answers and, where a sweep has them, beside systems that see no
video or do not know the person. With several inputs, the others are compared with the first.

It writes four files:
  card.html   one page with tables, intervals, doubts, and the answers behind every figure; it needs no network
  card.json   all numbers        scores.csv   one per line        table.tex   a table for a paper

Asks no model of videos. With --baseline it exits with 1 if a score fell by more than --max-drop.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.score quickstart/evaluation --out=cards/wilson
  python -m pvchat_jax.score test_results_Aa.json internvideo_Aa.json --out=cards/aa --title="PVChat and InternVideo2"
  python -m pvchat_jax.score evaluations/new --out=cards/new --baseline=cards/old/card.json --max-drop=0.02
  python -m pvchat_jax.score evaluations/new --out=cards/new --judge=http://127.0.0.1:8000/v1 --judge_model=Qwen3.5-35B-A3B
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line: 0, or 1 if a score fell too far; a mistake that the user can mend exits with 2."""
    options = _parser().parse_args(arguments)
    console = Console()
    with exit_on_user_error():
        card = write_card(options.inputs, options.out, _card_options(options), console)
        changes = []
        if options.baseline is not None:
            changes = check_gate(card, options.baseline, options.max_drop, options.gate or GATED, options.subject)
    _print(card, changes, options.max_drop, console)
    console.print(Text(f"Card: {options.out}{os.sep}{PAGE_FILE}"), soft_wrap=True)
    return int(any(change.is_too_much for change in changes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pvchat_jax.score",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("inputs", metavar="SWEEP_OR_RESULT", type=Path, nargs="+", help="directory of a sweep or an evaluation, or a .json file")
    add("--out", metavar="DIR", type=Path, required=True, help="where the files go")
    add("--title", default="Evaluation", help="of the page (default: %(default)s)")
    add("--subject", metavar="<NAME>", help="whom a result file is read for (default: everybody whom its questions name)")
    add("--judge", default="rules", help="who rates ES and DC: rules, a server's address, or a model's directory (default: %(default)s)")
    add("--judge_model", metavar="NAME", default="", help="of the model behind the server's address")
    add("--allow_remote", action="store_true", help="names and answers may go to a judge on another machine")
    add("--bertscore_model", metavar="DIR", type=Path, help="local directory of the model of BERTScore, such as roberta-large")
    add("--device", default="cpu", help="of a local judge and of BERTScore, as PyTorch names it (default: %(default)s)")
    add("--train", metavar="FILE", type=Path, action="append", help="records of training videos to look for among the test videos")
    add("--seed", metavar="N", type=int, default=0, help="of the resamples behind the intervals (default: %(default)s)")
    add("--baseline", metavar="FILE", type=Path, help="an earlier card.json, or anything that can be scored, to hold the scores against")
    add("--max-drop", metavar="SHARE", type=float, default=0.0, help="by which a score may be below the baseline (default: %(default)s)")
    add("--gate", metavar="SCORE", action="append", help=f"a score that must not fall (default: {', '.join(GATED)})")
    return parser


def _card_options(options: argparse.Namespace) -> CardOptions:
    same = ("title", "subject", "judge", "judge_model", "allow_remote", "bertscore_model", "device", "seed")
    return CardOptions(**{name: getattr(options, name) for name in same}, train=tuple(options.train or ()))


def _print(card: Card, changes: Sequence[Change], max_drop: float, console: Console) -> None:
    for sentence in card.lead:
        console.print(Text(sentence))
    for sentence in card.doubts:
        console.print(Text(f"But: {sentence}"))
    for change in changes:
        verdict = f"more than {max_drop:g} worse" if change.is_too_much else "good enough"
        console.print(Text(f"{change.metric}: {change.before:.4f} before, {change.now:.4f} now: {verdict}"))


if __name__ == "__main__":
    sys.exit(main())
