"""One item of a sweep: its units are answered, appended, and put together when none is missing."""

import dataclasses
import importlib.metadata
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.config.evaluation_schema import BLIND, CONSTANTS, QUESTION_ONLY
from pvchat_jax.config.pack_manifest import is_pack
from pvchat_jax.config.run_directory import read_config
from pvchat_jax.data.records import Question, Record
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.activity import ActivityMeter
from pvchat_jax.evaluation.answer_record import as_answer
from pvchat_jax.evaluation.constants import constant, golds_of
from pvchat_jax.evaluation.examiner import Examiner, Heard, Said, to_answers
from pvchat_jax.evaluation.generation import VIDEOS_AT_ONCE
from pvchat_jax.sharding import mesh_context
from pvchat_jax.sweeps.decoding import read_decoding
from pvchat_jax.sweeps.items import Item
from pvchat_jax.sweeps.models import Models
from pvchat_jax.sweeps.results import ItemFolder
from pvchat_jax.sweeps.systems import donors
from pvchat_jax.sweeps.units import UnitFeatures, make_units

PACKAGES = ("jax", "flax", "numpy", "transformers")

Answered = Mapping[str, Any]  # one line of a part


class Work(NamedTuple):
    """What all items of a group share: the chosen records, and by number the features of this process's units."""

    records: Sequence[Record]
    features: Mapping[int, UnitFeatures]


def answer_units(item: Item, work: Work, numbers: Sequence[int], models: Models, at_once: int) -> Iterator[Answered]:
    """The units of the given numbers in order, each ready to be appended; `at_once` of them are answered together."""
    if item.system in CONSTANTS:
        say = constant(item.system, golds_of(work.records))
        yield from (_constant_unit(work, number, say) for number in numbers)
        return
    asking = _Asking(item, work.records, models, at_once)
    for start in range(0, len(numbers), at_once):
        yield from asking.answer(work, numbers[start : start + at_once])


def _constant_unit(work: Work, number: int, say: Callable[[str, str], str]) -> Answered:
    found = work.features[number]
    lines = [
        {
            **dataclasses.asdict(as_answer(record, question, say(question.type, record.subject))),
            **_place(member, index, question.question, True),
        }
        for member in found.readable
        for record in [work.records[member]]
        for index, question in enumerate(record.questions)
    ]
    return {
        "unit": number,
        "answers": lines,
        "set_aside": _set_aside(found),
        "heads": [],
        "options": {},
        "seconds": 0.0,
    }


def _set_aside(found: UnitFeatures) -> list[dict[str, str]]:
    return [item._asdict() for item in found.set_aside]


def _place(member: int, index: int, asked: str, is_complete: bool) -> dict[str, Any]:
    return {"record": member, "number": index, "asked": asked, "is_complete": is_complete}


class _Shown(NamedTuple):
    """Members of a unit that are asked about, and the features float[VIDEOS_AT_ONCE, N, L, D] that are taken for theirs, filled up."""

    members: Sequence[int]
    features: np.ndarray | None


class _Asking:
    """An examiner for an item's model, questions and decoding, and how its videos are exchanged."""

    def __init__(self, item: Item, records: Sequence[Record], models: Models, at_once: int) -> None:
        answering = models.load(item.model)
        self._item, self._mesh = item, models.mesh
        self._examiner = Examiner(
            records,
            answering.tokenizer,
            answering.config,
            at_once * VIDEOS_AT_ONCE,
            answering.engine,
            decoding=read_decoding(item.decoding) | {"seed": item.seed},
            threshold=item.threshold or 0.0,
            other_name=item.other_name,
        )

    def answer(self, work: Work, numbers: Sequence[int]) -> list[Answered]:
        """Units that are answered together."""
        began = time.monotonic()
        shown = [self._shown(work.features[number]) for number in numbers]
        heard = self._hear(work.records, shown)
        seconds = round((time.monotonic() - began) / len(numbers), 3)
        units = []
        for place, (number, (members, _)) in enumerate(zip(numbers, shown, strict=True)):
            rows = slice(place * VIDEOS_AT_ONCE, place * VIDEOS_AT_ONCE + len(members))
            shares = {module: share[rows] for module, share in heard.gate_shares.items()}
            unit = self._unit(work.records, work.features[number], Heard(heard.said[rows], shares), members)
            units.append({"unit": number, **unit, "options": dataclasses.asdict(self._examiner.options), "seconds": seconds})
        return units

    def _shown(self, found: UnitFeatures) -> _Shown:
        members, features = found.readable, found.features
        if features is None:
            return _Shown((), None)
        if self._item.system == BLIND:
            return _Shown(members, np.zeros_like(features))
        if self._item.system == QUESTION_ONLY:
            order = donors(len(members), self._item.seed)
            return _Shown(members, features[[*order, *[order[0]] * (VIDEOS_AT_ONCE - len(order))]]) if order else _Shown((), None)
        return _Shown(members, features)

    def _hear(self, records: Sequence[Record], shown: Sequence[_Shown]) -> Heard:
        """What is said about the videos of all units, `VIDEOS_AT_ONCE` places for each."""
        features = [one.features for one in shown if one.features is not None]
        if not features:
            return Heard([[] for _ in range(VIDEOS_AT_ONCE * len(shown))], {})
        stacked = np.concatenate([features[0] if one.features is None else one.features for one in shown])
        asked: list[Sequence[Question]] = []
        seeds: list[Sequence[int]] = []
        for members, _ in shown:
            filling = [()] * (VIDEOS_AT_ONCE - len(members))
            asked.extend([*(records[member].questions for member in members), *filling])
            seeds.extend([*([_seed(member, index) for index in range(len(records[member].questions))] for member in members), *filling])
        with mesh_context(self._mesh):
            return self._examiner(stacked, asked, seeds)

    def _unit(self, records: Sequence[Record], found: UnitFeatures, heard: Heard, members: Sequence[int]) -> dict[str, Any]:
        """The answers about a unit, whose `members` were asked about."""
        shares = {module: share.round(6).tolist() for module, share in heard.gate_shares.items()}
        alone = [{"video": records[member].video, "reason": _ALONE} for member in found.readable if member not in members]
        return {
            "answers": [
                line for member, said in zip(members, heard.said, strict=True) for line in self._lines(member, records[member], said)
            ],
            "set_aside": [*_set_aside(found), *alone],
            "heads": [
                {"present": records[member].present, "shares": {module: share[row] for module, share in shares.items()}}
                for row, member in enumerate(members)
            ],
        }

    def _lines(self, member: int, record: Record, said: Sequence[Said]) -> Iterator[dict[str, Any]]:
        other = self._item.other_name
        if other is not None:
            said = [one._replace(text=one.text.replace(other, record.subject)) for one in said]
        for index, answer in enumerate(to_answers(record, said, has_odds=self._examiner.has_odds)):
            asked = answer.question if other is None else answer.question.replace(record.subject, other)
            yield {**dataclasses.asdict(answer), **_place(member, index, asked, said[index].is_complete)}


_ALONE = "no other video of its unit can be read, so there is none to show instead of it"


def _seed(member: int, index: int) -> int:
    """What a question adds to the seed of its draws: it depends on its place in the file alone."""
    return zlib.crc32(f"{member} {index}".encode())


def finish(item: Item, folder: ItemFolder, records: Sequence[Record], mesh: Mapping[str, int]) -> None:
    """Puts the units of an item together, if none is missing.

    Args:
      mesh: what item.json says about the devices.

    Raises:
      UserError: all are there and have not one answer.
    """
    found = folder.units()
    if folder.is_done or len(found) < len(make_units(records)):
        return
    lines = [found[number] for number in sorted(found)]
    order = {record.video: place for place, record in enumerate(records)}
    answers = sorted((answer for unit in lines for answer in unit["answers"]), key=lambda answer: (answer["record"], answer["number"]))
    set_aside = sorted((video for unit in lines for video in unit["set_aside"]), key=lambda video: order[video["video"]])
    if not answers:
        raise UserError(f"none of the {len(records)} videos of {item.records} could be read; the first: {set_aside[0]['reason']}")
    meter = ActivityMeter()
    for unit in lines:
        for head in unit["heads"]:
            meter.add({module: np.asarray(share) for module, share in head["shares"].items()}, present=head["present"])
    trained = read_config(item.run)
    has_heads = any(unit["heads"] for unit in lines)
    about = {
        **{name: getattr(item, name) for name in ("system", "subject", "run", "step", "other_run", "other_step", "other_name")},
        "kind": "pack" if is_pack(item.run) else "run",
        "model": trained.model.name,
        "stage": trained.stage,
        "weights_fingerprint": item.weights,
        **{name: getattr(item, name) for name in ("records", "records_sha256")},
        "limit": item.limit or None,
        **{name: getattr(item, name) for name in ("decoding", "seed", "threshold")},
        "decoding_options": lines[0]["options"],
        "num_videos": len({answer["record"] for answer in answers}),
        "num_answers": len(answers),
        "set_aside": set_aside,
        "activity": dataclasses.asdict(meter.activity(trained.model.qformer.remoh.num_shared_heads)) if has_heads else None,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "mesh": dict(mesh),
        "seconds": round(math.fsum(unit["seconds"] for unit in lines), 1),
    }
    folder.finish(about, answers)
