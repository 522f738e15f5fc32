"""A sweep from its configuration to its files: every process takes its units of every item, and whoever comes last puts them together.

No process waits for another. Units are owned by their number, so two processes that start from the same files do not meet in one, and
what a lost process owned is done when the same command runs again, with any number of processes.
"""

import errno
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from pvchat_jax.config.evaluation_schema import EvaluationConfig
from pvchat_jax.config.flags import to_dict
from pvchat_jax.config.run_directory import read_config
from pvchat_jax.data.records import Record
from pvchat_jax.distributed.apart import Share
from pvchat_jax.evaluation.examiner import prompt_row
from pvchat_jax.sharding import BATCH_AXES, make_mesh, mesh_context
from pvchat_jax.sweeps.asking import Work, answer_units, finish
from pvchat_jax.sweeps.decoding import read_decoding
from pvchat_jax.sweeps.grid import Grid, chosen_records, explain, plan
from pvchat_jax.sweeps.items import Item, ModelKey
from pvchat_jax.sweeps.models import Models
from pvchat_jax.sweeps.progress import SweepProgress
from pvchat_jax.sweeps.results import DONE, FAILED, OPEN, ItemFolder, write_sweep
from pvchat_jax.sweeps.scoring import track_scores
from pvchat_jax.sweeps.units import UnitFeatures, encode_units, make_units

ALONE = Share()


class Group(NamedTuple):
    """Items about the same videos, which one encoder sees: they are encoded once."""

    items: list[Item]
    records: Sequence[Record]


def run_sweep(config: EvaluationConfig, console: Console, share: Share = ALONE) -> list[dict[str, Any]]:
    """Does this process's share of what is not done yet, and writes sweep.json.

    Args:
      console: says how far it is; quiet on all processes but the first.

    Returns:
      What sweep.json says about each item; some are open while other processes are still at them.

    Raises:
      UserError: a setting of the sweep itself is wrong.
    """
    for decoding in config.decoding:
        read_decoding(decoding)
    out = Path(config.output_dir)
    grid = plan(config)
    write = functools.partial(write_sweep, out, to_dict(config))
    write(_entries(grid, out, share), grid.left_out)
    sweep = _Sweep(out, make_mesh(config.mesh, jax.local_devices()), share)
    groups = list(_groups([item for item in grid.items if item.reason is None], config.limit))
    missing = sum(sweep.num_missing(group) for group in groups)
    with SweepProgress(console, missing) as progress:
        for group in groups:
            sweep.run_group(group, progress)
    entries = _entries(grid, out, share)
    write(entries, grid.left_out)
    if missing and all(entry["state"] != OPEN for entry in entries):  # so this process came last
        track_scores(config, entries)
    return entries


def _groups(items: Sequence[Item], limit: int) -> Iterator[Group]:
    """Items that share videos and an encoder, in the order of their first."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault((item.encoder, item.records, item.asked), []).append(item)
    for members in groups.values():
        yield Group(_by_model(members), chosen_records(members[0].records, read_config(members[0].run), limit))


def _by_model(items: Sequence[Item]) -> list[Item]:
    """The same items, those of one model together, so that each is loaded once."""
    first = {model: place for place, model in reversed(list(enumerate(item.model for item in items)))}
    return sorted(items, key=lambda item: first[item.model])


def _entries(grid: Grid, out: Path, share: Share) -> list[dict[str, Any]]:
    """The state of every item as the files have it."""
    entries = []
    for item in grid.items:
        folder = ItemFolder(out, item.name, share)
        reason = item.reason or folder.reason
        entries.append(item.entry(DONE if folder.is_done else FAILED if reason else OPEN, reason))
    return entries


class _Sweep:
    """This process's part of a sweep."""

    def __init__(self, out: Path, mesh: Mesh, share: Share) -> None:
        self._out, self._share, self.mesh = out, share, mesh
        self._at_once = int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))  # units that the devices answer together
        self._models = Models(mesh)

    def _folder(self, item: Item) -> ItemFolder:
        return ItemFolder(self._out, item.name, self._share)

    def _missing(self, group: Group) -> dict[str, list[int]]:
        """Own units that an item lacks, by the item's name."""
        own = [unit.number for unit in make_units(group.records) if self._share.owns(unit.number)]
        missing = {}
        for item in group.items:
            folder = self._folder(item)
            done = own if folder.is_done else folder.units()
            missing[item.name] = [number for number in own if number not in done]
        return missing

    def num_missing(self, group: Group) -> int:
        return sum(map(len, self._missing(group).values()))

    def run_group(self, group: Group, progress: SweepProgress) -> None:
        """Encodes what any item lacks and asks every item about it; what fails is noted and the rest goes on."""
        missing = self._missing(group)
        progress.begin(f"reading the videos of {group.items[0].records}")
        features, failed = self._encode(group, sorted({number for numbers in missing.values() for number in numbers}))
        work = Work(group.records, features)
        for place, item in enumerate(group.items, start=1):
            progress.begin(f"{item.subject} {item.system} ({place} of {len(group.items)} about {item.records})")
            self._ask(item, work, missing[item.name], failed.get(item.name), progress)

    def _ask(self, item: Item, work: Work, numbers: Sequence[int], reason: str | None, progress: SweepProgress) -> None:
        """Answers the units of the given `numbers`, unless there is a `reason` why it cannot."""
        folder, left = self._folder(item), len(numbers)
        try:
            if numbers and reason is None:
                for unit in answer_units(item, work, numbers, self._models, self._at_once):
                    folder.append(unit)
                    left -= 1
                    progress.advance(1)
            if reason is None:
                finish(item, folder, work.records, {"processes": self._share.count, **self.mesh.shape})
        except Exception as error:  # a full disk ends the sweep; whatever else is wrong with one item is its own
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            reason = explain(error)
        if reason is not None:
            folder.fail(reason)
            progress.say(f"failed: {item.name}: {reason}")
            progress.advance(left)

    def _encode(self, group: Group, numbers: Sequence[int]) -> tuple[dict[int, UnitFeatures], dict[str, str]]:
        """Features of the units of the given numbers, and why items failed whose model could not make them, by the item's name."""
        failed: dict[str, str] = {}
        units = [unit for unit in make_units(group.records) if unit.number in set(numbers)]
        first = group.items[0]
        keys = list(dict.fromkeys(item.model for item in group.items if item.model)) or [ModelKey(first.run, None, first.subject)]
        for key in keys if units else ():
            try:
                answering = self._models.load(key)
                engine = answering.engine(prompt_row(answering.tokenizer, answering.config, group.records[0].questions[0]))
                with mesh_context(self.mesh):
                    data = answering.config.data
                    return dict(encode_units(units, group.records, data, engine.encode, self._at_once, self._out)), failed
            except Exception as error:  # another checkpoint may have the same encoder
                if getattr(error, "errno", None) == errno.ENOSPC:
                    raise
                failed |= {item.name: explain(error) for item in group.items if item.model == key}
        if units:
            failed |= {item.name: f"no model could be loaded that sees the videos of {item.records}" for item in group.items} | failed
        return {}, failed
