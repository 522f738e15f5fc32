"""What a sweep has found so far, as a table on the terminal."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pvchat_jax.sweeps.results import DONE, ITEMS, read_item, read_sweep
from pvchat_jax.sweeps.scoring import numbers_of

_COLUMNS = ("subject", "system", "step", "decoding", "seed", "videos", "balanced\naccuracy", "AUC", "content")


def print_sweep(console: Console, out: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """One row for each finished item, in percent but for the AUC, and a line for each that is not."""
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in _COLUMNS[:2] else "right")
    for entry in entries:
        if entry["state"] == DONE:
            table.add_row(*map(Text, _row(out, entry)))
    if table.row_count:
        console.print(table)
    for line in _lines(out, entries):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _row(out: Path, entry: Mapping[str, Any]) -> Iterator[str]:
    found = read_item(out / ITEMS / entry["item"])
    numbers = numbers_of(found.answers)
    content = [value for name, value in numbers.items() if name.startswith("content/")]
    yield from (entry["subject"], entry["system"].replace("_", " "), str(entry["step"] or ""), entry["decoding"], str(entry["seed"]))
    yield str(found.about["num_videos"])
    yield _percent(numbers.get("balanced_accuracy"))
    yield f"{numbers['auc']:.3f}" if "auc" in numbers else ""
    yield _percent(statistics.fmean(content) if content else None)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _lines(out: Path, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    states = [entry["state"] for entry in entries]
    yield f"{states.count(DONE)} of {len(states)} items are done; every answer is in {out / ITEMS}"
    for entry in entries:
        if entry["state"] != DONE:
            yield f"{entry['state']}: {entry['system']} of {entry['run']} on {entry['records']}: {entry['reason'] or 'not finished yet'}"
    for item in read_sweep(out)["left_out"]:
        yield f"left out: {item['system']} of {item['run']}: {item['reason']}"
