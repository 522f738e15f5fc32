"""Fails a change that makes scores worse: for continuous integration."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.card.card import WHOLE, Card
from pvchat_jax.evaluation.card.loading import load_systems
from pvchat_jax.evaluation.card.slices import EVERYTHING
from pvchat_jax.evaluation.metrics.metric import Metric, value_of

GATED = ("balanced_accuracy", "content_accuracy")


class Change(NamedTuple):
    """A score of the first model before and now; `drop` is how much worse it became, in the score's own unit."""

    metric: str
    before: float
    now: float
    drop: float
    is_too_much: bool


def check_gate(card: Card, baseline: Path, max_drop: float, gated: Sequence[str] = GATED, subject: str | None = None) -> list[Change]:
    """Compares the first model of a card with an earlier one.

    Args:
      baseline: a `card.json`, or whatever a card can be made from: it is scored with the same code then.
      max_drop: in the score's own unit; shares count from 0 to 1.
      gated: keys of metrics; those that neither side has are left out.

    Raises:
      UserError: the baseline cannot be read, or has none of the scores.
    """
    metrics = {metric.key: metric for metric in card.instruments.metrics}
    unknown = [key for key in gated if key not in metrics]
    if unknown:
        raise UserError(f"there is no score '{unknown[0]}' to compare with {baseline}; known are {', '.join(metrics)}.")
    before = _earlier(baseline, [metrics[key] for key in gated], subject)
    numbers = card.scores[card.models[0].name][WHOLE].numbers
    changes = []
    for key in gated:
        old, new = before.get(key), numbers[key].value
        if old is None:
            continue
        if new is None:
            raise UserError(f"the score '{key}' is in {baseline} but not defined here; ask the same types of question.")
        drop = old - new if metrics[key].higher_is_better else new - old
        changes.append(Change(key, old, new, drop, drop > max_drop + 1e-9))
    if not changes:
        raise UserError(f"{baseline} has none of the scores {', '.join(gated)}; name another baseline, or other scores with --gate.")
    return changes


def _earlier(baseline: Path, metrics: Sequence[Metric], subject: str | None) -> Mapping[str, float | None]:
    values = _card_values(baseline)
    if values is not None:
        return values
    model = load_systems(baseline, subject)[0]
    return {metric.key: value_of(metric, model.answers) for metric in metrics}


def _card_values(path: Path) -> Mapping[str, float | None] | None:
    """Scores of the first model of a card.json; None of another file."""
    if not path.is_file():
        return None
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(value, dict) or "systems" not in value or "judge_agreement" not in value:
        return None
    try:
        model = next(system for system in value["systems"] if system["kind"] == "model")
        whole = next(part for part in model["slices"] if part["slice"] == EVERYTHING)
        return {key: number["value"] for key, number in whole["scores"].items()}
    except (KeyError, TypeError, StopIteration) as error:
        raise UserError(f"{path} is no card of this version ({error!r}); make it again.") from error
