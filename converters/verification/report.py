"""What a verification found, as a table on the terminal and as JSON that can be attached to an issue."""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from converters.recordings import Recording
from converters.verification.comparison import AGREES, DIFFERS, NOT_COMPARED, Comparison
from pvchat_jax.config.flags import to_dict
from pvchat_jax.files import write_atomically

REPORT_FORMAT = "pvchat_jax verification"
_PACKAGES = ("pvchat_jax", "jax", "jaxlib", "flax", "numpy", "safetensors")
_STYLES = {AGREES: "green", DIFFERS: "bold red", NOT_COMPARED: "dim"}
# So many parameters that all of them on the terminal would hide the rest; the JSON has each.
_SUMMARISED = "train/final/"


def first_difference(comparisons: Iterable[Comparison]) -> Comparison | None:
    """The first stage above tolerance in the order of computation, which is where to look."""
    return next((comparison for comparison in comparisons if comparison.verdict == DIFFERS), None)


def print_report(recording: Recording, comparisons: Sequence[Comparison], console: Console) -> None:
    """The table, and one line on what it says."""
    table = Table(title=f"{recording.name}: what the original recorded, and ours", title_justify="left", box=box.SIMPLE)
    table.add_column("stage", overflow="fold")
    for name in ("shape", "max error", "of max"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("allowed, or why not")
    table.add_column("verdict", no_wrap=True)
    for comparison in summarised(comparisons):
        table.add_row(*_cells(comparison))
    console.print(table)
    counts = {verdict: sum(comparison.verdict == verdict for comparison in comparisons) for verdict in _STYLES}
    first = first_difference(comparisons)
    where = f"; look at {first.stage} first" if first else ""
    console.print(f"{counts[AGREES]} arrays agree, {counts[DIFFERS]} differ, {counts[NOT_COMPARED]} are not compared{where}.", markup=False)


def summarised(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The rows of the table: trained parameters that agree, and those that are not compared, are one row each."""
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for comparison in comparisons:
        merged = comparison.stage.startswith(_SUMMARISED) and comparison.verdict != DIFFERS
        groups.setdefault((comparison.verdict, comparison.note, _SUMMARISED if merged else comparison.stage), []).append(comparison)
    return [_worst(group) for group in groups.values()]


def _worst(group: Sequence[Comparison]) -> Comparison:
    worst = max(group, key=lambda one: one.max_error or 0.0)
    return worst if len(group) == 1 else dataclasses.replace(worst, stage=f"{_SUMMARISED}*, {len(group)} arrays", shape=())


def _cells(comparison: Comparison) -> list[Text]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1e}"

    shape = "x".join(map(str, comparison.shape))
    allowed = "; ".join(text for text in (comparison.tolerance, comparison.note) if text)
    cells = (comparison.stage, shape, number(comparison.max_error), number(comparison.relative_error), allowed)
    return [*(Text(cell) for cell in cells), Text(comparison.verdict, style=_STYLES[comparison.verdict])]


def write_report(path: Path, recording: Recording, comparisons: Sequence[Comparison], files: Sequence[Path], source: str) -> None:
    """Everything that the table shows and more, with versions and machine, and without paths, host or user names.

    Args:
      files: what the recording was read from; named without their folder, and with their sha256.
      source: where the weights came from, in words.
    """
    first = first_difference(comparisons)
    report = {
        "format": REPORT_FORMAT,
        "recording": recording.name,
        "weights": source,
        "agrees": first is None,
        "first_difference": first.stage if first else None,
        "recorded_with": recording.info.get("versions", {}),
        "files": {file.name: _sha256(file) for file in files},
        "software": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": _machine(),
        "model": to_dict(recording.config),
        "stages": [_stage(comparison) for comparison in comparisons],
    }
    write_atomically(path, json.dumps(report, indent=1, allow_nan=False) + "\n")


def _stage(comparison: Comparison) -> dict[str, Any]:
    values = dataclasses.asdict(comparison)
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}


def _machine() -> dict[str, Any]:
    devices = jax.devices()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "backend": jax.default_backend(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # run from a clone that is not installed
        return None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
