"""Finished parts of a set of clips, from which a stopped run goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.data.records import Record
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.record_json import from_json, to_json


class Part(NamedTuple):
    """The records of some clips, whose videos are written, and how alike to the subject those are that were left out, by name."""

    records: list[Record]
    rejected: Mapping[str, float]


def write_part(path: Path, made_of: str, part: Part) -> None:
    """Notes a part.

    Args:
      made_of: stands for everything that decides what the clips show.
    """
    values = {"made_of": made_of, "records": [to_json(record) for record in part.records], "rejected": dict(part.rejected)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(values) + "\n")


def read_part(path: Path, made_of: str) -> Part | None:
    """A part that was finished; None where there is none of the same clips."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["made_of"] != made_of:
            return None
        return Part([from_json(Record, one) for one in values["records"]], values["rejected"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged ones are made again
