"""The last stage: repetitions go, best frames are picked, and the files, the contact sheet and the verdict are written."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.data.validation import check_file
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.exporting.contact_sheet import write_contact_sheet
from pvchat_jax.synthesis.exporting.export import export
from pvchat_jax.synthesis.exporting.statistics import Statistics, count
from pvchat_jax.synthesis.exporting.training_set import TrainingSet
from pvchat_jax.synthesis.exporting.verdict import Verdict, judge, write_verdict
from pvchat_jax.synthesis.record_json import to_json
from pvchat_jax.synthesis.stages import StageStore

MANIFEST_FILE = "manifest.json"
STATISTICS_FILE = "statistics.json"
CLIPS_FILE = "clips.jsonl"
FACE_FILE = "face.json"
SET_ASIDE_FILE = "set_aside.jsonl"
_PACKAGES = ("pvchat_jax", "av", "numpy", "pillow")


class Outcome(NamedTuple):
    """What there is at the end; `files` are the written records by split, and `stage1`."""

    made: TrainingSet
    counted: Statistics
    verdict: Verdict
    files: dict[str, Path]
    sheet: Path


def write_set(store: StageStore, made: TrainingSet, parents: Mapping[str, str], settings: Mapping[str, Any]) -> Outcome:
    """Writes everything about `made` into the folder of `store`. Two calls with the same set write the same bytes.

    Args:
      parents: file names of filmed videos, by digest.
      settings: that the set was made with, for the manifest.
    """
    folder = store.folder
    files = export(folder, made, parents)
    findings, warnings = validate(files, made.subject)
    counted = count(made)
    verdict = judge(made, counted, findings, warnings)
    write_lines(
        folder / CLIPS_FILE, [{"split": used.split, **to_json(used.clip)} for used in made.used] + [to_json(clip) for clip in made.rejected]
    )
    write_lines(folder / SET_ASIDE_FILE, [to_json(item) for item in made.set_aside])
    _write_json(folder / STATISTICS_FILE, counted.to_json())
    _write_json(folder / FACE_FILE, {"reader": made.person.reader, "embedding": list(made.person.embedding)})
    write_verdict(folder, verdict)
    sheet = write_contact_sheet(folder, made, counted, verdict)
    manifest = {
        "subject": made.subject,
        "source": {"video": Path(made.source.video).name, "sha256": made.source.sha256},
        "settings": settings,
        "stages": store.manifest(),
        "packages": {name: version(name) for name in _PACKAGES},
        "files": {name: {"file": path.name, "records": len(made.of(name))} for name, path in files.items() if name != "stage1"},
    }
    _write_json(folder / MANIFEST_FILE, manifest)
    return Outcome(made, counted, verdict, files, sheet)


def validate(files: Mapping[str, Path], subject: str) -> tuple[list[str], list[str]]:
    """Problems of all files, as the validator finds them, and its warnings about train; without the folders in their paths."""
    problems, warnings = [], []
    for name, path in files.items():
        found = check_file(path, subject)
        problems += [str(dataclasses.replace(problem, file=path.name)) for problem in found.problems]
        if name == "train":
            warnings += [str(dataclasses.replace(problem, file=path.name)) for problem in found.warnings]
    return problems, warnings


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes JSON Lines."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
