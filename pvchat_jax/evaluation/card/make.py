"""Makes the card of one or more inputs, with all of its files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.card.card import Card, Instruments, make_card
from pvchat_jax.evaluation.card.files import card_csv, card_json, card_latex
from pvchat_jax.evaluation.card.leaks import HASHES_FILE, LeakCheck, VideoHashes, find_leaks, training_videos
from pvchat_jax.evaluation.card.loading import load_systems, named_apart
from pvchat_jax.evaluation.card.page import write_card_page
from pvchat_jax.evaluation.card.systems import System
from pvchat_jax.evaluation.judges.agreement import measure_agreement
from pvchat_jax.evaluation.judges.chat import choose_judge
from pvchat_jax.evaluation.judges.ratings import RATINGS_FILE, Ratings
from pvchat_jax.evaluation.judges.rubric import RUBRICS
from pvchat_jax.evaluation.metrics.bertscore import BertScorer, bertscore_metric
from pvchat_jax.evaluation.metrics.bleu import bleu_metric, signature
from pvchat_jax.evaluation.metrics.content import CONTENT_METRICS
from pvchat_jax.evaluation.metrics.existence import EXISTENCE_METRICS
from pvchat_jax.evaluation.metrics.metric import Metric, SumMetric
from pvchat_jax.files import write_atomically

PAGE_FILE, JSON_FILE, CSV_FILE, LATEX_FILE = "card.html", "card.json", "scores.csv", "table.tex"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardOptions:
    """How a card is made.

    Attributes:
      title: of the page.
      subject: whom result files are read for; None for everybody whom their questions name.
      judge: `rules`, a server's address, or a directory; see `choose_judge`. judge_model: as the server names it.
      allow_remote: the user's consent that what is rated goes to another machine.
      bertscore_model: directory of the model of BERTScore; None leaves it out.
      train: records whose videos the test videos are compared with; by default those that the runs' configurations name.
      device: of local models, as PyTorch names it.
      seed: of the resamples.
    """

    title: str = "Evaluation"
    subject: str | None = None
    judge: str = "rules"
    judge_model: str = ""
    allow_remote: bool = False
    bertscore_model: Path | None = None
    train: tuple[Path, ...] = ()
    device: str = "cpu"
    seed: int = 0


def write_card(inputs: Path | Sequence[Path], out: Path, options: CardOptions | None = None, console: Console | None = None) -> Card:
    """Scores, compares, and writes `card.html`, `card.json`, `scores.csv` and `table.tex` into `out`.

    Args:
      inputs: directories of sweeps, evaluations, or result files of the original project; the first model of the first is the one
        that others are compared with.
      console: where progress is shown; None shows none.

    Raises:
      UserError: an input cannot be read, or what was asked for is not there.
    """
    options = options or CardOptions()
    paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(path) for path in inputs]
    systems = named_apart([(title, load_systems(path, options.subject)) for title, path in zip(_titles(paths), paths, strict=True)])
    if not any(system.answers for system in systems):
        raise UserError(f"{paths[0]} has no answers; ask some questions first.")
    instruments = choose_instruments(systems, options, out)
    leaks = _check_leaks(systems, options, out, console)
    card = make_card(options.title, [str(path) for path in paths], systems, instruments, leaks, options.seed)
    write_card_page(out / PAGE_FILE, card)
    write_atomically(out / JSON_FILE, card_json(card))
    write_atomically(out / CSV_FILE, card_csv(card))
    write_atomically(out / LATEX_FILE, card_latex(card))
    return card


def _titles(paths: Sequence[Path]) -> list[str]:
    names = [path.stem if path.suffix == ".json" else path.resolve().name for path in paths]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def choose_instruments(systems: Sequence[System], options: CardOptions, out: Path) -> Instruments:
    """The metrics that can be had, after everything that takes a model has been scored and rated once.

    Raises:
      UserError: a model that was asked for cannot be used.
    """
    answers = [answer for system in systems for answer in system.answers]
    metrics: list[Metric] = [*EXISTENCE_METRICS, *CONTENT_METRICS, bleu_metric(1), bleu_metric(4)]
    methods = {f"BLEU-{order}": f"sacrebleu {signature(order)}" for order in (1, 4)}
    skipped = []
    if options.bertscore_model is None:
        skipped.append("BERTScore is left out, since no model was given for it (--bertscore_model).")
    else:
        scorer = BertScorer(options.bertscore_model, device=options.device)
        scorer.score(answers)
        metrics.append(bertscore_metric(scorer))
        methods["BERTScore"] = scorer.name
    judge = choose_judge(options.judge, options.judge_model, allow_remote=options.allow_remote, device=options.device)
    ratings = Ratings(judge, None if options.judge == "rules" else out / RATINGS_FILE)
    agreement = {}
    for rubric in RUBRICS:
        ratings.rate(rubric, answers)
        metrics.append(ratings.metric(rubric))
        unread = ratings.num_unread(rubric, answers)
        methods[rubric.title] = f"judge: {judge.name}; {rubric.about}" + (f"; {unread} answers got no rating" if unread else "")
        agreement[rubric.title] = measure_agreement(judge, rubric)
    remembering = tuple(metric.remembering() if isinstance(metric, SumMetric) else metric for metric in metrics)
    return Instruments(metrics=remembering, methods=methods, skipped=tuple(skipped), agreement=agreement)


def _check_leaks(systems: Sequence[System], options: CardOptions, out: Path, console: Console | None) -> LeakCheck:
    models = [system for system in systems if system.kind == "model"]
    runs = list(dict.fromkeys(run for model in models for run in model.runs))
    train, unknown = training_videos(runs, options.train)
    test = list(dict.fromkeys(answer.video for model in models for answer in model.answers)) if train else []
    with Progress(console=console, disable=console is None) as progress:
        bar = progress.add_task("comparing training and test videos", total=len(train) + len(test), visible=bool(train))
        check = find_leaks(train, test, VideoHashes(out / HASHES_FILE), lambda: progress.advance(bar))
    return check._replace(not_checked=(*unknown, *check.not_checked))
