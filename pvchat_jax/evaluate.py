"""Asks a trained model about videos that it has not seen and reports how well it answers.

python -m pvchat_jax.evaluate --run=quickstart/wilson/stage2 --records=quickstart/world/test.jsonl
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pvchat_jax.config.run_directory import read_config
from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.data.records import load_records
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.evaluation.curves import StageCurves, curve_keys, read_curves
from pvchat_jax.evaluation.html_report import write_html
from pvchat_jax.evaluation.report import Evaluation, print_summary, write_json
from pvchat_jax.evaluation.scores import Scores, score_answers
from pvchat_jax.evaluation.selection import choose_records
from pvchat_jax.evaluation.threshold import read_threshold

JSON_FILE = "evaluation.json"
HTML_FILE = "report.html"

_DESCRIPTION = """\
Asks a trained model every question about a set of test videos and scores the answers, beside what always saying yes,
always saying no and always giving the most common answer would score.

It prints the scores and writes two files:
  evaluation.json  scores, and every answer with its verdict
  report.html      one page with tables, curves, active heads, and right and wrong examples; it needs no network

Videos that cannot be read are listed and left out. Runs on one device.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.evaluate --run=quickstart/wilson/stage2 --records=quickstart/world/test.jsonl
  python -m pvchat_jax.evaluate --run=runs/8b/stage2 --records=data/wilson/test.jsonl --out=reports/wilson --limit=40
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m pvchat_jax.evaluate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", metavar="DIR", type=Path, required=True, help="output directory of a training run")
    parser.add_argument(
        "--records",
        metavar="FILE",
        type=Path,
        required=True,
        help="questions and answers: a .jsonl of records, or a .json of the original project",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="where the two files go (default: evaluation/ in the run's directory)")
    parser.add_argument("--limit", metavar="N", type=_positive, help="ask about N videos only, half of them with the subject if possible")
    options = parser.parse_args(arguments)
    console = Console()
    with exit_on_user_error():
        evaluation = evaluate_run(
            options.run, options.records, options.out or options.run / "evaluation", limit=options.limit, console=console
        )
        print_summary(evaluation, console)
    console.print(Text(f"Report: {options.out or options.run / 'evaluation'}{os.sep}{HTML_FILE}"))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def evaluate_run(
    run: Path, records_file: Path, out: Path, *, limit: int | None = None, systems: Mapping[str, Scores] | None = None, console: Console
) -> Evaluation:
    """Evaluates the newest checkpoint of `run` on `records_file` and writes `evaluation.json` and `report.html` into `out`.

    Args:
      systems: scores of other systems on the same records, to be shown beside the run's.

    Raises:
      UserError: run or records cannot be read, or none of the videos can.
    """
    trained = read_config(run)
    records = choose_records(load_records(records_file, trained.data.subject), trained.data.question_types, limit)
    if not records:
        raise UserError(f"{records_file} has no question of the types that {run} was trained on: {', '.join(trained.data.question_types)}.")
    # Slow imports, after everything that may be wrong with the arguments.
    import jax

    from pvchat_jax.evaluation.generation import answer_records
    from pvchat_jax.sharding import make_mesh
    from pvchat_jax.training.initialise import load_run

    loaded = load_run(run, make_mesh(MeshConfig(data=1), jax.devices()[:1]))
    threshold = read_threshold(run)
    answers, set_aside, activity = answer_records(
        loaded.model, loaded.params, loaded.tokenizer, loaded.config, records, console, threshold=threshold or 0.0
    )
    if not answers:
        raise UserError(f"none of the {len(records)} videos of {records_file} could be read; the first: {set_aside[0].reason}")
    evaluation = Evaluation(
        run=str(run),
        records=str(records_file),
        subject=trained.data.subject,
        model=trained.model.name,
        stage=trained.stage,
        step=loaded.step,
        scores=score_answers(answers),
        answers=answers,
        set_aside=set_aside,
        systems=systems or {},
        threshold=threshold,
        activity=activity,
    )
    write_json(out / JSON_FILE, evaluation)
    write_html(out / HTML_FILE, evaluation, training_curves(run))
    return evaluation


def training_curves(run: Path) -> list[StageCurves]:
    """Curves of the run and of those that it started from, the earliest first."""
    from pvchat_jax.training.metrics import METRICS_FILE

    stages: list[StageCurves] = []
    directory = str(run)
    while directory:
        config = read_config(directory)
        title = f"Stage {config.stage}"
        title = f"{title} in {directory}" if title in [stage.title for stage in stages] else title
        curves = read_curves(Path(directory) / METRICS_FILE, curve_keys(config.model.qformer.routed_modules))
        stages.insert(0, StageCurves(title=title, curves=curves, target_active_rate=config.objective.target_active_rate))
        directory = config.init_from
    return stages


if __name__ == "__main__":
    sys.exit(main())
