"""The card for programs: JSON, CSV, and a LaTeX table."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from typing import Any

from pvchat_jax.evaluation.card.card import WHOLE, Card
from pvchat_jax.evaluation.card.comparing import Comparison
from pvchat_jax.evaluation.card.measuring import Number
from pvchat_jax.evaluation.metrics.metric import Metric

FORMAT = 1
CSV_COLUMNS = (
    *("system", "kind", "slice", "of", "metric", "value", "low", "high", "num_questions"),
    *("slice_questions", "slice_videos", "slice_subjects"),
)
_LATEX_METRICS = (
    *("accuracy", "balanced_accuracy", "auc", "content_accuracy"),
    *("bleu_1", "bertscore_f1", "entity_specificity", "descriptive_completeness"),
)
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\n": " ",
    }
)


def card_json(card: Card) -> str:
    """Everything but the answers."""
    instruments = card.instruments
    values = {
        "format": FORMAT,
        "title": card.title,
        "inputs": list(card.inputs),
        "lead": list(card.lead),
        "doubts": list(card.doubts),
        "skipped": list(instruments.skipped),
        "methods": dict(instruments.methods),
        "judge_agreement": {title: agreement._asdict() for title, agreement in instruments.agreement.items()},
        "metrics": {m.key: {"title": m.title, "unit": m.unit, "higher_is_better": m.higher_is_better} for m in instruments.metrics},
        "systems": [_system(card, system) for system in card.systems],
        "against": {name: [_comparison(one) for one in comparisons] for name, comparisons in card.against.items()},
        "compared": [_comparison(one) for one in card.compared],
        "near_duplicates": None if card.leaks is None else card.leaks._asdict() | {"leaks": [leak._asdict() for leak in card.leaks.leaks]},
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _system(card: Card, system: Any) -> dict[str, Any]:
    scores = [
        {
            "slice": part.kind,
            "of": part.name,
            **{field: getattr(measured, field) for field in ("num_questions", "num_videos", "num_subjects")},
            "scores": {key: _number(number) for key, number in measured.numbers.items()},
        }
        for part, measured in card.scores[system.name].items()
    ]
    about = {name: getattr(system, name) for name in ("name", "kind", "beside")}
    return about | {"facts": dict(system.facts), "set_aside": [item._asdict() for item in system.set_aside], "slices": scores}


def _number(number: Number) -> dict[str, Any]:
    low, high = number.interval or (None, None)
    return {"value": number.value, "low": low, "high": high, "num_questions": number.num_questions}


def _comparison(one: Comparison) -> dict[str, Any]:
    differences = {
        key: None if found is None else {"value": found.value, "low": found.interval.low, "high": found.interval.high, "p": found.p_value}
        for key, found in one.differences.items()
    }
    return dataclasses.asdict(one) | {"differences": differences, "existence": one.existence and one.existence._asdict()}


def card_csv(card: Card) -> str:
    """One line per system, slice and metric; `CSV_COLUMNS` names the columns."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_csv_rows(card))
    return file.getvalue()


def _csv_rows(card: Card) -> Iterator[tuple[Any, ...]]:
    for system in card.systems:
        for part, measured in card.scores[system.name].items():
            sizes = (measured.num_questions, measured.num_videos, measured.num_subjects)
            for key, number in measured.numbers.items():
                low, high = number.interval or ("", "")
                value = "" if number.value is None else number.value
                yield (system.name, system.kind, part.kind, part.name, key, value, low, high, number.num_questions, *sizes)


def card_latex(card: Card) -> str:
    """A table of the systems with the scores that papers show; needs the package booktabs."""
    metrics = [metric for key in _LATEX_METRICS for metric in card.instruments.metrics if metric.key == key]
    first_other = next((system for system in card.systems if system.kind != "model"), None)
    rows = []
    for system in card.systems:
        numbers = card.scores[system.name][WHOLE].numbers
        cells = [_latex_cell(metric, numbers[metric.key]) for metric in metrics]
        if system == first_other:
            rows.append(r"\midrule")
        rows.append(" & ".join([system.name.translate(_LATEX), *cells]) + r" \\")
    head = " & ".join(["", *(metric.title + (r" (\%)" if metric.unit == "percent" else "") for metric in metrics)])
    lines = [
        "% needs \\usepackage{booktabs}; in brackets: 95 % bootstrap intervals over subjects and videos",
        rf"\begin{{tabular}}{{l{'c' * len(metrics)}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(metric: Metric, number: Number) -> str:
    if number.value is None:
        return "--"
    value = shown(metric, number.value)
    if number.interval is None:
        return value
    low, high = (shown(metric, end) for end in number.interval)
    return rf"{value} {{\scriptsize [{low}, {high}]}}"


def shown(metric: Metric, value: float) -> str:
    """A score with the digits that its unit deserves."""
    return f"{100 * value:.1f}" if metric.unit == "percent" else f"{value:.2f}" if metric.unit == "rating" else f"{value:.3f}"
