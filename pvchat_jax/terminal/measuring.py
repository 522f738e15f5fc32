"""Calibrating a person, and comparing people, with a bar for the videos that are looked at."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.assistant.held_out import Clips, read_clips, score, watch_clips
from pvchat_jax.assistant.interference import Interference, measure_interference
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import fit_calibration, write_calibration
from pvchat_jax.files import write_atomically
from pvchat_jax.registry.names import bare, resolve
from pvchat_jax.registry.registry import Registry


def calibrate(registry: Registry, name: str, records: Path, false_accepts: float, console: Console) -> None:
    """Calibrates the person on held-out clips and keeps the result with the pack.

    Raises:
      UserError: the records or videos cannot be read, or do not show both the person and others.
    """
    person = registry.person(name)
    assistant = Assistant.open(registry)
    clips = _watch(assistant, records, console)
    write_calibration(person.folder, fit_calibration(score(assistant, person.name, clips), false_accepts))


def compare(registry: Registry, records: Sequence[Path], out: Path | None, console: Console) -> None:
    """Prints what people do to each other, and writes it as JSON where `out` says so.

    Args:
      records: a file for each of the people, whose subject says who it is about.

    Raises:
      UserError: a file cannot be read, or is about nobody who is enrolled, or two are about the same person.
    """
    assistant = Assistant.open(registry)
    clips: dict[str, Clips] = {}
    for path in records:
        name = resolve(read_clips(path)[0].subject, assistant.names)
        if name in clips:
            raise UserError(f"{path} is about {bare(name)}, as another file of --records is; give one file for each person.")
        clips[name] = _watch(assistant, path, console)
    found = measure_interference(assistant, clips)
    for table in _tables(found):
        console.print(table)
    if out is not None:
        write_atomically(out, json.dumps(_to_json(found), indent=2) + "\n")


def _watch(assistant: Assistant, path: Path, console: Console) -> Clips:
    records = read_clips(path)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(f"looking at {path.name}", total=len(records))
        clips = watch_clips(assistant, records, lambda number: bars.update(bar, advance=number))
    if clips.set_aside:
        console.print(f"{len(clips.set_aside)} of {len(records)} videos were left out; the first: {clips.set_aside[0]}")
    return clips


def _tables(found: Interference) -> list[Table]:
    names = [bare(name) for name in found.names]
    taken = Table("pack of", *(f"{name}'s clips" for name in names), title="called present", title_justify="left")
    change = Table("asked after", *(f"{name}" for name in names), title="accuracy, and how it changes after another", title_justify="left")
    change.add_row("nobody", *(f"{accuracy:.1%}" for accuracy in found.accuracy))
    for row, name in enumerate(names):
        taken.add_row(name, *(f"{share:.1%}" for share in found.taken[row]))
        change.add_row(name, *(f"{difference:+.1%}" for difference in found.change[row]))
    return [taken, change]


def _to_json(found: Interference) -> dict[str, object]:
    def plain(array: np.ndarray) -> list[object]:
        return [[None if np.isnan(value) else float(value) for value in row] for row in array]

    return {
        "names": [bare(name) for name in found.names],
        "accuracy": found.accuracy.tolist(),
        "change_by_pack_and_person": plain(found.change),
        "taken_by_pack_and_person": plain(found.taken),
    }
