"""The benchmark's results as tables for the terminal and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from pvchat_jax.benchmarking.numbers import NUMBERS
from pvchat_jax.benchmarking.variants import QUESTIONS

_WIDEST = 200  # columns of a terminal
_HEADS = {"existence_balanced": "existence\n(balanced)"}

Rows = Sequence[Sequence[str]]


def cell(mean: float, spread: float) -> str:
    """Such as `93.1 ± 2.4`, in percent."""
    return f"{100 * mean:.1f} ± {100 * spread:.1f}"


def system_rows(values: Mapping[str, Any]) -> Rows:
    """One row for each system with its five numbers; `values` is a `scores.json`."""
    return [
        [name.replace("_", " "), *(cell(values["scores"][name][number], values["spread"][name][number]) for number in NUMBERS)]
        for name in values["scores"]
    ]


def person_rows(values: Mapping[str, Any], systems: Sequence[str]) -> Rows:
    """Share of videos in which the subject was said to be, by who is there; one row for each kind of person."""
    by_system = values["existence_by_person"]
    kinds = by_system[systems[0]]["mean"]
    return [[kind, *(cell(by_system[name]["mean"][kind], by_system[name]["spread"][kind]) for name in systems)] for kind in kinds]


def variant_rows(found: Mapping[str, Mapping[str, Any]], names: Sequence[str], system: str) -> Rows:
    """One row for each variant that was run."""
    rows = []
    for name in names:
        if name in found:
            means, spreads = found[name]["scores"][system], found[name]["spread"][system]
            hardest = found[name]["existence_by_person"][system]
            grade = "look-alike, grade 1"
            rows.append([name, *(cell(means[n], spreads[n]) for n in NUMBERS), cell(hardest["mean"][grade], hardest["spread"][grade])])
    return rows


def heads() -> list[str]:
    """Titles of the columns of the five numbers."""
    return [_HEADS.get(name, name) for name in NUMBERS]


def print_table(console: Console, title: str, columns: Sequence[str], rows: Rows) -> None:
    """Prints a table of percentages, mean ± standard deviation."""
    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # as wide as the numbers need, which a narrow terminal wraps instead of cutting them
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    wide = Console(file=console.file, width=max(needed, console.width), no_color=console.no_color)
    wide.print(table)


def markdown_table(columns: Sequence[str], rows: Rows) -> str:
    """The same as Markdown."""
    lines = [[column.replace("\n", " ") for column in columns], ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def ablation_markdown(found: Mapping[str, Mapping[str, Any]], system: str) -> str:
    """Every question with its table."""
    parts = ["# Ablations on the cast benchmark\n", "In percent, mean ± standard deviation over runs.\n"]
    for question, names in QUESTIONS.items():
        if len(rows := variant_rows(found, names, system)) > 1:
            parts += [f"## {question}\n", markdown_table(variant_columns(), rows)]
    return "\n".join(parts)


def variant_columns() -> list[str]:
    """Titles of the columns of `variant_rows`."""
    return ["variant", *heads(), "look-alike,\ngrade 1"]
