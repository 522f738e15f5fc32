"""The ablations as one page: each question with a table and a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pvchat_jax.benchmarking.tables import variant_columns, variant_rows
from pvchat_jax.benchmarking.variants import DEFAULT, QUESTIONS
from pvchat_jax.evaluation.html_report import write_page
from pvchat_jax.evaluation.interval_chart import draw_intervals
from pvchat_jax.evaluation.markup import Section, figure, note, table
from pvchat_jax.evaluation.metrics.bootstrap import Interval

_NOTE = "In percent, mean ± standard deviation over runs. A difference inside the spreads says nothing at this size."


def write_ablation_page(path: Path, found: Mapping[str, Mapping[str, Any]], system: str) -> None:
    """Writes the page about the variants in `found`, contents of `scores.json` by name."""
    sections = []
    for number, (question, names) in enumerate(QUESTIONS.items()):
        rows = variant_rows(found, names, system)
        if len(rows) < 2:
            continue
        # The default first, since the first bar stands out.
        order = sorted((name for name in names if name in found), key=lambda name: name != DEFAULT)
        bars = [_bar(name, found[name], system) for name in order]
        chart = figure("Balanced accuracy of existence, mean and standard deviation", draw_intervals(bars))
        sections.append(Section(f"question_{number}", question, table(question, variant_columns(), rows) + chart + note(_NOTE)))
    runs = {values["num_runs"] for values in found.values()}
    facts = f"{len(found)} variants of the tiny model with {' or '.join(map(str, sorted(runs)))} runs each."
    write_page(path, "What each part of the method is worth", facts, sections)


def _bar(name: str, values: Mapping[str, Any], system: str) -> tuple[str, float, Interval]:
    mean, spread = (values[key][system]["existence_balanced"] for key in ("scores", "spread"))
    return name, mean, Interval(max(mean - spread, 0.0), min(mean + spread, 1.0))
