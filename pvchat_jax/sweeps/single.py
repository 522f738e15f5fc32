"""One run asked about one file of questions, beside the systems that are wanted: a sweep of a few items, and its report."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.config.evaluation_schema import PERSONALIZED, EvaluationConfig
from pvchat_jax.config.run_directory import read_config
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.curves import StageCurves, curve_keys, read_curves
from pvchat_jax.evaluation.html_report import write_html
from pvchat_jax.evaluation.report import Evaluation, write_json
from pvchat_jax.evaluation.scores import score_answers
from pvchat_jax.sweeps.results import ITEMS, ItemResult, read_item
from pvchat_jax.sweeps.run import run_sweep
from pvchat_jax.training.metrics import METRICS_FILE

JSON_FILE = "evaluation.json"
HTML_FILE = "report.html"


def ask_run(
    run: Path,
    records: Path,
    out: Path,
    console: Console,
    *,
    systems: Sequence[str] = (PERSONALIZED,),
    others: Sequence[Path] = (),
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, ItemResult]:
    """What each system answers about the newest checkpoint of `run`; answers that lie in `out` already are read.

    Args:
      others: runs of other people, for the system `wrong_person`.

    Raises:
      UserError: one of them cannot.
    """
    config = EvaluationConfig(
        runs=(str(run),),
        records=(str(records),),
        systems=tuple(systems),
        others=tuple(map(str, others)),
        limit=limit or 0,
        seeds=(seed,),
        output_dir=str(out),
    )
    entries = run_sweep(config, console)
    for entry in entries:
        if entry["reason"] is not None:
            raise UserError(entry["reason"])
    return {entry["system"]: read_item(out / ITEMS / entry["item"]) for entry in entries}


def evaluate_run(
    run: Path, records_file: Path, out: Path, *, limit: int | None = None, systems: Sequence[str] = (), seed: int = 0, console: Console
) -> Evaluation:
    """Evaluates the newest checkpoint of `run` on `records_file` and writes `evaluation.json` and `report.html` into `out`.

    Args:
      systems: of a sweep, to be asked and shown beside the run.

    Raises:
      UserError: run or records cannot be read, or none of the videos can.
    """
    trained = read_config(run)
    asked = ask_run(run, records_file, out, console, systems=(PERSONALIZED, *systems), limit=limit, seed=seed)
    own = asked.pop(PERSONALIZED)
    evaluation = Evaluation(
        run=str(run),
        records=str(records_file),
        subject=trained.data.subject,
        model=trained.model.name,
        stage=trained.stage,
        step=own.about["step"],
        scores=score_answers(own.answers),
        answers=own.answers,
        set_aside=own.set_aside,
        systems={name: score_answers(result.answers) for name, result in asked.items()},
        threshold=own.about["threshold"],
        activity=own.activity,
    )
    write_json(out / JSON_FILE, evaluation)
    write_html(out / HTML_FILE, evaluation, training_curves(run))
    return evaluation


def training_curves(run: Path) -> list[StageCurves]:
    """Curves of the run and of those that it started from, the earliest first."""
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
