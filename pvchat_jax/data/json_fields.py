"""Typed reading of JSON objects that collects every complaint, with its place, instead of stopping at the first.

`records.py` and `reference_json.py` read their files through `ObjectReader`; loading raises the first `Problem` as a
`UserError`, validation prints them all.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.errors import UserError

_KIND = {str: "a string", bool: "true or false", list: "a list", dict: "an object", int: "a number", float: "a number", type(None): "null"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """One complaint about a file.

    Attributes:
      file: the file as the user named it.
      record: where in it, such as `line 3` or `videos[4]`; empty when the whole file is meant.
      field: such as `role` or `questions[0].type`; empty when the whole record is meant.
      message: what is wrong and how to mend it.
    """

    file: str
    record: str
    field: str
    message: str

    def __str__(self) -> str:
        place = [self.file, self.record, f"field '{self.field}'" if self.field else ""]
        return f"{', '.join(part for part in place if part)}: {self.message}"


def suggestion(value: str, known: Collection[str]) -> str:
    """`; did you mean 'x'?` for the known name nearest to `value`, or an empty string."""
    near = difflib.get_close_matches(value, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def kind(value: Any) -> str:
    """How JSON calls the type of `value`."""
    return _KIND.get(type(value), type(value).__name__)


class ObjectReader:
    """Reads typed fields of one JSON object; a wrong field adds a `Problem` and reads as None.

    Readers made by `child` share the list of problems, so one list covers a record and its questions.
    """

    def __init__(self, value: Any, *, file: str, record: str, prefix: str = "", problems: list[Problem] | None = None) -> None:
        self.file, self.record, self.prefix = file, record, prefix
        self.problems = [] if problems is None else problems
        self.value: dict[str, Any] = value if isinstance(value, dict) else {}
        self.is_object = isinstance(value, dict)
        if not self.is_object:
            self.problems.append(Problem(file=file, record=record, field=prefix, message=f"must be an object, not {kind(value)}"))

    def complain(self, field: str, message: str) -> None:
        """Adds a problem at `field` of this object (empty: the object itself)."""
        name = f"{self.prefix}.{field}" if self.prefix and field else self.prefix or field
        self.problems.append(Problem(file=self.file, record=self.record, field=name, message=message))

    def child(self, value: Any, name: str) -> "ObjectReader":
        """A reader of an object inside this one."""
        prefix = f"{self.prefix}.{name}" if self.prefix else name
        return ObjectReader(value, file=self.file, record=self.record, prefix=prefix, problems=self.problems)

    def get(self, field: str, expected: type, *, required: bool = True) -> Any:
        """The field's value if it is of exactly the `expected` type; null and absence read as None when not required."""
        value = self.value.get(field)
        if value is None and (field not in self.value or not required):
            if required and self.is_object:
                self.complain(field, f"is missing; it must be {_KIND[expected]}{suggestion(field, self.value)}")
            return None
        if type(value) is not expected:
            self.complain(field, f"must be {_KIND[expected]}, not {kind(value)}")
            return None
        return value

    def text(self, field: str, *, required: bool = True) -> str | None:
        """A non-blank string that can be written as UTF-8."""
        value = self.get(field, str, required=required)
        if value is None:
            return None
        if not value.strip():
            self.complain(field, "is empty; fill it in or remove the record")
            return None
        return value if self.check_characters(field, value) else None

    def label(self, field: str) -> str | None:
        """An optional string; the original's empty placeholder reads as None."""
        value = self.get(field, str, required=False)
        return value if value and self.check_characters(field, value) else None

    def choice(self, field: str, choices: Sequence[str], *, required: bool = True) -> str | None:
        """A string out of `choices`."""
        value = self.get(field, str, required=required)
        if value is not None and value not in choices:
            self.complain(field, f"'{value}' is not one of {', '.join(choices)}{suggestion(value, choices)}")
            return None
        return value

    def path(self, field: str) -> str | None:
        """A non-empty file name."""
        value = self.text(field)
        if value is not None and "\0" in value:
            self.complain(field, "has a NUL character, which no file name may have")
            return None
        return value

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Complains about fields that nothing reads, which are misspellings more often than not."""
        for field in self.value:
            if field not in known:
                self.complain(printable(field), f"is not a known field; known are {', '.join(known)}{suggestion(field, known)}")

    def check_characters(self, field: str, value: str) -> bool:
        """Complains about text that UTF-8 cannot hold; whether there was nothing to complain about."""
        clean = printable(value) == value
        if not clean:
            self.complain(field, "has half of a surrogate pair, which is not a Unicode character; write the character out")
        return clean


def printable(text: str) -> str:
    """`text` with unpaired surrogates, which UTF-8 cannot hold, replaced by question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def read_text(path: Path) -> str:
    """The UTF-8 text of a file (a byte order mark is skipped).

    Raises:
      UserError: the file is missing, a directory, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the name.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory; name the .jsonl or .json file in it.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    except PermissionError:
        raise UserError(f"{path} may not be read; change its permissions.") from None


def parse_json(text: str) -> Any:
    """`json.loads` that also refuses what JSON does not have: NaN, infinities and repeated fields.

    Raises:
      ValueError: with one line saying what and where.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_object_without_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"is not valid JSON: {name} is no number; write null")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"has the number {digits[:40]}, which is too large; write a smaller one")
    return number


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has the field '{printable(repeated)}' twice in one object; keep one")
    return result
