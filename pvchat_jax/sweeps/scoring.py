"""Scores of finished items as plain numbers by name: for the trackers, and for the table on the terminal."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.config.evaluation_schema import EvaluationConfig
from pvchat_jax.config.flags import flatten
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.scores import score_answers
from pvchat_jax.sweeps.results import DONE, ITEMS, read_item
from pvchat_jax.tracking.trackers import open_trackers

EXISTENCE = ("accuracy", "balanced_accuracy", "far", "frr", "auc", "unknown_rate")


def numbers_of(answers: Sequence[Answer]) -> dict[str, float]:
    """The scores that are defined: those of `EXISTENCE`, and `content/TYPE` with the share of right answers about the subject."""
    scores = score_answers(answers)
    named = {name: getattr(scores.existence, name) for name in EXISTENCE}
    content = {f"content/{kind}": score.accuracy for kind, score in scores.content.items()}
    return {name: value for name, value in (named | content).items() if value is not None}


def track_scores(config: EvaluationConfig, entries: Sequence[Mapping[str, Any]]) -> None:
    """Sends the scores of all finished items to the trackers, at the step of their checkpoint; systems without one are at step 0."""
    out = Path(config.output_dir)
    steps: dict[int, dict[str, float]] = {}
    for entry in entries:
        if entry["state"] == DONE:
            steps.setdefault(entry["step"] or 0, {}).update(_named(out, entry))
    trackers = open_trackers(config.tracking, out, 0, flatten(config))
    for step, numbers in sorted(steps.items()):
        for tracker in trackers:
            tracker.write(step, numbers)
    for tracker in trackers:
        tracker.close()


def _named(out: Path, entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    parts = (
        entry["subject"],
        Path(entry["run"]).name,
        entry["system"],
        Path(entry["records"]).stem,
        entry["decoding"],
        f"seed{entry['seed']}",
    )
    name = "/".join(re.sub(r"[^\w.+=-]", "", part) for part in parts)
    return ((f"{name}/{key}", value) for key, value in numbers_of(read_item(out / ITEMS / entry["item"]).answers).items())
