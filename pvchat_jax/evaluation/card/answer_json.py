"""Answers as lines of JSON."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pvchat_jax.data.json_fields import read_text
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer

_FIELDS = {field.name for field in dataclasses.fields(Answer)}


def answer_from_json(value: Mapping[str, Any], where: str) -> Answer:
    """An answer from the fields of `Answer`, whatever else there is.

    Raises:
      UserError: fields are missing.
    """
    try:
        return Answer(**{name: item for name, item in value.items() if name in _FIELDS})
    except TypeError as error:
        raise UserError(f"{where} is no answer ({error}); it was damaged or written by another version.") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one per line.

    Raises:
      UserError: a line is no JSON object.
    """
    values = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}, is not JSON ({error}); delete the item's folder and sweep again.") from error
            values.append(value)
    return values
