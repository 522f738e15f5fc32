"""The files of a sweep: what each process has answered so far, and what an item consists of when it is finished.

sweep.json                    the whole grid with the state of every item
items/NAME/parts/0-of-2.jsonl one line for each unit of work that a process has finished
items/NAME/answers.jsonl      one line for each answer, and
items/NAME/item.json          what they are answers to: both are there when the item is done, and the parts are gone
items/NAME/failed.json        why there are none
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.distributed.apart import Share
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.files import write_atomically

SWEEP_FILE, ITEMS = "sweep.json", "items"
ITEM_FILE, ANSWERS_FILE, FAILED_FILE, PARTS = "item.json", "answers.jsonl", "failed.json", "parts"
FORMAT = 1
DONE, FAILED, OPEN = "done", "failed", "open"


class ItemResult(NamedTuple):
    """A finished item: what item.json says, the answers in the order of records and questions, videos that could not be read, and
    the heads that were on, None for a system without a model."""

    about: dict[str, Any]
    answers: list[Answer]
    set_aside: list[SetAside]
    activity: HeadActivity | None


class ItemFolder:
    """One item's files, to which this process and others add.

    Args:
      share: of this process, which alone writes the part of that name.
    """

    def __init__(self, out: Path, name: str, share: Share) -> None:
        self.path = out / ITEMS / name
        self._own = self.path / PARTS / f"{share.index}-of-{share.count}.jsonl"

    @property
    def is_done(self) -> bool:
        return (self.path / ITEM_FILE).is_file()

    @property
    def reason(self) -> str | None:
        """Why it failed; None where it did not, or was not tried."""
        path = self.path / FAILED_FILE
        return None if self.is_done or not path.is_file() else str(json.loads(path.read_text(encoding="utf-8"))["reason"])

    def units(self) -> dict[int, dict[str, Any]]:
        """Finished units by number, whoever finished them; a line that a crash cut short is none."""
        found: dict[int, dict[str, Any]] = {}
        for path in sorted((self.path / PARTS).glob("*.jsonl")):
            for unit in _whole_lines(path):
                found.setdefault(unit["unit"], unit)
        return found

    def append(self, unit: Mapping[str, Any]) -> None:
        """Adds a finished unit, whose `unit` is its number, as one line that is on the disk when this returns."""
        if not self._own.is_file() or not self._own.read_bytes().endswith(b"\n"):
            write_atomically(self._own, "".join(json.dumps(line) + "\n" for line in _whole_lines(self._own)))
        with self._own.open("ab", buffering=0) as file:
            file.write((json.dumps(unit, allow_nan=False) + "\n").encode())
            os.fsync(file.fileno())

    def fail(self, reason: str) -> None:
        """Notes why there are no answers; units that are finished stay for another try."""
        write_atomically(self.path / FAILED_FILE, json.dumps({"reason": reason}) + "\n")

    def finish(self, about: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> None:
        """Writes what makes the item done; several processes may, since they write the same."""
        lines = "".join(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n" for answer in answers)
        write_atomically(self.path / ANSWERS_FILE, lines)
        write_atomically(self.path / ITEM_FILE, json.dumps({"format": FORMAT, **about}, ensure_ascii=False, indent=1) + "\n")
        (self.path / FAILED_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.path / PARTS, ignore_errors=True)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a part; empty where it is not there (any more)."""
    lines = []
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    for line in text.split("\n")[:-1]:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def write_sweep(out: Path, settings: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], left_out: Sequence[Any]) -> None:
    """Writes sweep.json: `entries` of `Item.entry`, and `left_out` of the grid."""
    values = {"format": FORMAT, "settings": settings, "items": entries, "left_out": [item._asdict() for item in left_out]}
    write_atomically(out / SWEEP_FILE, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def read_sweep(out: Path) -> dict[str, Any]:
    """What sweep.json says.

    Raises:
      UserError: there is none, or it is damaged.
    """
    return _read(Path(out) / SWEEP_FILE)


def read_item(folder: Path) -> ItemResult:
    """A finished item.

    Raises:
      UserError: it is not finished, or damaged.
    """
    about = _read(Path(folder) / ITEM_FILE)
    path = Path(folder) / ANSWERS_FILE
    names = {field.name for field in dataclasses.fields(Answer)}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        answers = [Answer(**{name: line[name] for name in names}) for line in lines]
        set_aside = [SetAside(**item) for item in about["set_aside"]]
        activity = None if about["activity"] is None else HeadActivity(**about["activity"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is damaged ({type(error).__name__}: {error}); delete it and start the sweep again.") from error
    return ItemResult(about, answers, set_aside, activity)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise UserError(f"{path} has format {values['format']} and this version reads {FORMAT}; use the version that wrote it.")
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}; make it with python -m pvchat_jax.evaluate.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); delete it and start the sweep again.") from error
    return values
