"""The records of `records.py` as JSON values and back, which is how the results of stages are kept."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

_Record = TypeVar("_Record")


def to_json(record: Any) -> dict[str, Any]:
    """A dataclass as JSON values: tuples become lists, nested dataclasses objects."""
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def from_json(kind: type[_Record], values: Mapping[str, Any]) -> _Record:
    """The `kind` that `to_json` took apart.

    Raises:
      TypeError, ValueError, KeyError: `values` are not those of a `kind`.
    """
    hints = typing.get_type_hints(kind)
    return kind(**{name: _typed(hints[name], value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _typed(hint: Any, value: Any) -> Any:
    """`value` with the tuples and dataclasses that `hint` asks for."""
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value)
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        item = (arms[0],) * len(value) if arms[1:] == (...,) else arms
        return tuple(_typed(kind, part) for kind, part in zip(item, value, strict=True))
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _typed(next(arm for arm in arms if arm is not type(None)), value)
    return value
