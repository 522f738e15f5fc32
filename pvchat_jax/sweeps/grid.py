"""The items of a sweep in their order, found without loading a model, so that all processes find the same."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.config.evaluation_schema import ALL, BASE, CONSTANTS, NAME_SWAPPED, NEWEST, PERSONALIZED, WRONG_PERSON, EvaluationConfig
from pvchat_jax.config.run_directory import read_config
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.record_files import load_records
from pvchat_jax.data.records import Record
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.selection import choose_records
from pvchat_jax.evaluation.threshold import read_threshold
from pvchat_jax.sweeps.decoding import draws, read_decoding
from pvchat_jax.sweeps.fingerprints import Weights, records_digest, weights_of
from pvchat_jax.sweeps.items import Item
from pvchat_jax.training.initialise import saved_steps


class LeftOut(NamedTuple):
    """A system that has no item for a run, and why."""

    system: str
    run: str
    reason: str


class Grid(NamedTuple):
    items: list[Item]
    left_out: list[LeftOut]


def plan(config: EvaluationConfig) -> Grid:
    """All items, those of one run and one file of questions together; what cannot be read becomes an item with its reason."""
    items: dict[str, Item] = {}
    left_out: dict[LeftOut, None] = {}
    for run, file in config.pairs:
        for item in _items_of(config, run, file):
            if isinstance(item, LeftOut):
                left_out[item] = None
            else:
                items.setdefault(item.name, item)
    return Grid(list(items.values()), list(left_out))


def chosen_records(file: str, trained: TrainConfig, limit: int) -> list[Record]:
    """The records of `file` that a run is asked about.

    Raises:
      UserError: the file cannot be read, or has no question for the run.
    """
    types = trained.data.question_types
    records = choose_records(load_records(Path(file), trained.data.subject), types, limit or None)
    if not records:
        raise UserError(f"{file} has no question of the types that the run was trained on: {', '.join(types)}.")
    return records


def explain(error: Exception) -> str:
    """One sentence for an item that failed."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"


def _items_of(config: EvaluationConfig, run: str, file: str) -> Iterator[Item | LeftOut]:
    """Items about one run and one file of questions."""
    first = Item(system=PERSONALIZED, run=run, records=file, decoding=config.decoding[0], seed=config.seeds[0], limit=config.limit)
    try:
        trained = read_config(run)
        records = chosen_records(file, trained, config.limit)
        of_file, asked = records_digest(file, records, trained)
        steps = _steps(run, config.checkpoints)
        weights = {step: _weights(run, step) for step in steps}
        threshold = read_threshold(Path(run))
    except Exception as error:  # whatever is wrong with one run should not keep others from being asked
        yield dataclasses.replace(first, reason=explain(error))
        return
    first = dataclasses.replace(first, subject=trained.data.subject, records_sha256=of_file, asked=asked)
    good = next((found for found in weights.values() if isinstance(found, Weights)), None)
    for number, (decoding, seed) in enumerate(_ways(config)):
        way = dataclasses.replace(first, decoding=decoding, seed=seed, encoder=good.encoder if good else None)
        for step, found in weights.items():
            for system in config.systems:
                if system in CONSTANTS or system in (BASE, WRONG_PERSON):
                    continue
                name = config.other_name if system == NAME_SWAPPED else None
                yield _at_step(dataclasses.replace(way, system=system, step=step, threshold=threshold, other_name=name), found)
        for system in config.systems:
            if system in CONSTANTS and number == 0:
                yield dataclasses.replace(way, system=system)
            elif system == BASE:
                yield _base(way, good)
            elif system == WRONG_PERSON:
                yield _wrong_person(config, way, trained)


def _base(way: Item, found: Weights | None) -> Item:
    """The item in which the model below the run answers."""
    item = dataclasses.replace(way, system=BASE)
    if found is None:
        return dataclasses.replace(item, reason=f"no checkpoint of {way.run} says what base it was trained on")
    return dataclasses.replace(item, weights=found.base, encoder=found.base_encoder)


def _at_step(item: Item, found: Weights | str) -> Item:
    if isinstance(found, str):
        return dataclasses.replace(item, reason=found)
    return dataclasses.replace(item, weights=found.fingerprint, encoder=found.encoder)


def _wrong_person(config: EvaluationConfig, way: Item, trained: TrainConfig) -> Item | LeftOut:
    """The item in which another person's run answers; its own threshold decides."""
    other = _other_run(config, way.run, trained.data.subject)
    if other is None:
        reason = "no other run of the sweep has a subject of another name; name runs or packs of other people in --config.others"
        return LeftOut(WRONG_PERSON, way.run, reason)
    item = dataclasses.replace(way, system=WRONG_PERSON, other_run=other)
    try:
        step = saved_steps(Path(other))[-1]
        found = weights_of(other, step)
        if read_config(other).model != trained.model:
            raise UserError(f"{other} has a model of other sizes than {way.run}; give a run of the same model in --config.others.")
        return dataclasses.replace(
            item, other_step=step, weights=found.fingerprint, encoder=found.encoder, threshold=read_threshold(Path(other))
        )
    except Exception as error:
        return dataclasses.replace(item, reason=explain(error))


def _other_run(config: EvaluationConfig, run: str, subject: str) -> str | None:
    runs = list(dict.fromkeys(config.runs))
    position = runs.index(run)
    if config.others:
        return config.others[position % len(config.others)]
    for other in [*runs[position + 1 :], *runs[:position]]:
        try:
            if read_config(other).data.subject != subject:
                return other
        except UserError:
            continue
    return None


def _steps(run: str, wanted: tuple[str, ...]) -> list[int]:
    """Steps of a run in ascending order; one that was named and is not there stays, and becomes an item with its reason."""
    saved = saved_steps(Path(run))
    meant: dict[str, Any] = {NEWEST: saved[-1:], ALL: saved}
    return sorted({step for text in wanted for step in meant.get(text, [int(text)] if text.isdecimal() else [])})


def _weights(run: str, step: int) -> Weights | str:
    """The weights at a step, or why they cannot be had."""
    try:
        return weights_of(run, step)
    except Exception as error:
        return explain(error)


def _ways(config: EvaluationConfig) -> Iterator[tuple[str, int]]:
    """Decoding and seed; what draws nothing has the first seed alone."""
    for decoding in config.decoding:
        for seed in config.seeds if draws(read_decoding(decoding)) else config.seeds[:1]:
            yield decoding, seed
