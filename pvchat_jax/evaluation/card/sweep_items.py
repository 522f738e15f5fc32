"""From the items of a sweep to systems: the same checkpoint and decoding of all subjects and seeds is one system."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pvchat_jax.config.evaluation_schema import CONSTANTS
from pvchat_jax.data.json_fields import parse_json, read_text
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.card.answer_json import answer_from_json, read_jsonl
from pvchat_jax.evaluation.card.systems import BLIND, IMPERSONAL, MODEL_SYSTEM, System, with_constants

SWEEP_FILE = "sweep.json"
_ITEM_FIELDS = ("system", "subject", "run", "records", "records_sha256", "decoding", "seed")


@dataclasses.dataclass(frozen=True)
class Item:
    """One finished item: `about` is its item.json."""

    about: dict[str, Any]
    answers: tuple[Answer, ...]

    @property
    def questions(self) -> tuple[Any, ...]:
        """What was asked, and of whose run."""
        return self.about["run"], self.about["records_sha256"], self.about.get("limit")

    @property
    def checkpoint(self) -> tuple[Any, ...]:
        return self.about["run"], self.about.get("step")


class _Group(NamedTuple):
    """A model's checkpoint, by its place among those of each subject, and how it was decoded."""

    place: int
    decoding: str


def read_sweep_systems(directory: Path) -> list[System]:
    """The systems of a sweep, models first, each followed by what it is held against.

    Raises:
      UserError: nothing is finished, or a file is damaged.
    """
    items = read_items(directory)
    models = [item for item in items if item.about["system"] == MODEL_SYSTEM]
    if not models:
        raise UserError(f"{directory} has no finished item of a model; run the sweep first.")
    groups = _group(models)
    systems: list[System] = []
    for group, members in groups.items():
        model = _system(_name(group, groups), "model", members)
        others = [
            dataclasses.replace(_system(f"{short} ({model.name})", kind, found), short=short, beside=model.name)
            for kind, names in (("blind", BLIND), ("impersonal", IMPERSONAL))
            for short in names
            if (found := [match for member in members if (match := _match(items, member, short)) is not None])
        ]
        systems += with_constants(model, others)
    return systems


def read_items(directory: Path) -> list[Item]:
    """The finished items in the order of the grid.

    Raises:
      UserError: a file is missing or damaged.
    """
    entries = _read(directory / SWEEP_FILE, ("items",))["items"]
    return [_read_item(directory / "items" / entry["item"]) for entry in entries if entry.get("state") == "done"]


def _read_item(folder: Path) -> Item:
    about = _read(folder / "item.json", _ITEM_FIELDS)
    path = folder / "answers.jsonl"
    return Item(about, tuple(answer_from_json(line, f"{path}, line {number}") for number, line in enumerate(read_jsonl(path), start=1)))


def _read(path: Path, fields: Sequence[str]) -> dict[str, Any]:
    try:
        value = parse_json(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} {error}; delete it and sweep again.") from error
    missing = [field for field in fields if not isinstance(value, dict) or field not in value]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; it was damaged or written by another version.")
    return value


def _group(models: Sequence[Item]) -> dict[_Group, list[Item]]:
    """Models by their place among the checkpoints of the subject, in the order of the grid, and by decoding."""
    places: dict[tuple[str, str], dict[tuple[Any, ...], int]] = collections.defaultdict(dict)
    groups: dict[_Group, list[Item]] = collections.defaultdict(list)
    for item in models:
        own = places[item.about["subject"], item.about["records_sha256"]]
        groups[_Group(own.setdefault(item.checkpoint, len(own)), item.about["decoding"])].append(item)
    return dict(groups)


def _name(group: _Group, groups: dict[_Group, list[Item]]) -> str:
    parts = [MODEL_SYSTEM]
    if len({other.place for other in groups}) > 1:
        members = groups[group]
        steps = {item.about.get("step") for item in members}
        of_place = {other.place: {item.about["run"] for item in found} for other, found in groups.items()}
        same_runs = all(runs == of_place[group.place] for runs in of_place.values())
        if same_runs and len(steps) == 1:
            parts.append(f"step {steps.pop()}")
        elif len({item.about["run"] for item in members}) == 1:
            run = "/".join(PurePosixPath(members[0].about["run"]).parts[-2:])
            parts.append(f"{run}, step {members[0].about.get('step')}")
        else:
            parts.append(f"checkpoint {group.place + 1}")
    if len({other.decoding for other in groups}) > 1:
        parts.append(group.decoding)
    return ", ".join(parts)


def _match(items: Sequence[Item], model: Item, system: str) -> Item | None:
    """The item of another system on the same questions; constants are kept for one decoding and seed."""

    def fits(item: Item) -> bool:
        if item.about["system"] != system or item.questions != model.questions:
            return False
        if item.about.get("step") not in (None, model.about.get("step")):
            return False
        same = (item.about["decoding"], item.about["seed"]) == (model.about["decoding"], model.about["seed"])
        return same or system in CONSTANTS

    return next(filter(fits, items), None)


def _system(name: str, kind: Any, members: Sequence[Item]) -> System:
    def several(field: str) -> str:
        return ", ".join(dict.fromkeys(str(item.about[field]) for item in members if item.about.get(field) is not None))

    fields = ("run", "step", "records", "subject", "decoding", "seed", "threshold", "weights_fingerprint", "other_run", "other_name")
    return System(
        name=name,
        kind=kind,
        answers=tuple(answer for item in members for answer in item.answers),
        facts={field: text for field in fields if (text := several(field))},
        set_aside=tuple(SetAside(value["video"], value["reason"]) for item in members for value in item.about.get("set_aside", ())),
        runs=tuple(dict.fromkeys(item.about["run"] for item in members)),
    )
