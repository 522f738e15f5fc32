"""Files of records, in JSON Lines or in any layout of the original project.

One line is one record:
`{"video", "subject", "role", "label", "origin", "parent", "sha256", "questions": [{"question", "answer", "type"}], "truth"}`.
`label` repeats what `role` implies, so that a slip in either is caught on reading.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.json_fields import ObjectReader, Problem, parse_json, read_text, suggestion
from pvchat_jax.data.records import LABELS, ORIGINS, ROLES, Question, Record
from pvchat_jax.data.reference_json import parse_reference
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

_FIELDS = ("video", "subject", "role", "label", "origin", "parent", "sha256", "questions", "truth")
_QUESTION_FIELDS = ("question", "answer", "type", "label")
_SHA256 = re.compile("[0-9a-f]{64}")


def load_records(path: Path, subject: str) -> list[Record]:
    """Reads a `.jsonl` file of records, or a `.json` file in any layout of the original project.

    Args:
      path: the file.
      subject: every record must be about this name; in files of several people it selects whom.

    Returns:
      At least one record; `video` is absolute.

    Raises:
      UserError: the file cannot be read, or its first wrong field, with file, line and field.
    """
    located, problems = parse_file(Path(path), subject)
    if problems:
        raise UserError(str(problems[0]))
    return [record for _, record in located]


def parse_file(path: Path, subject: str | None) -> tuple[list[tuple[str, Record]], list[Problem]]:
    """Like `load_records`, but returns all problems beside the records that have none, with their places (`line 3`).

    `subject=None` takes the subject that the file itself names first.
    """
    if path.suffix not in (".jsonl", ".json"):
        raise UserError(f"{path} has neither suffix .jsonl (records) nor .json (a file of the original project); rename it.")
    text = read_text(path)
    parse = _parse_lines if path.suffix == ".jsonl" else parse_reference
    located, problems = parse(text, str(path), subject)
    if not located and not problems:
        problems.append(Problem(file=str(path), record="", field="", message="has no records; one JSON object per video is needed"))
    folder = os.path.abspath(path.parent)
    return [(place, dataclasses.replace(record, video=os.path.join(folder, record.video))) for place, record in located], problems


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Writes a `.jsonl` file, one record per line in the given order; an interrupted write leaves the old file.

    Raises:
      UserError: `path` has another suffix.
      ValueError: `truth` holds something that JSON cannot.
    """
    path = Path(path)
    if path.suffix != ".jsonl":
        raise UserError(f"{path} must have the suffix .jsonl to be read back as records; rename it.")
    lines = [json.dumps(_to_json(record), ensure_ascii=False, allow_nan=False) for record in records]
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def _to_json(record: Record) -> dict[str, Any]:
    values = {field: getattr(record, field) for field in _FIELDS}
    values["questions"] = [dataclasses.asdict(question) for question in record.questions]
    values["truth"] = dict(record.truth)
    return values


def _parse_lines(text: str, file: str, subject: str | None) -> tuple[list[tuple[str, Record]], list[Problem]]:
    located: list[tuple[str, Record]] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines, which also cuts inside strings at U+2028
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = parse_json(line)
        except ValueError as error:
            problems.append(Problem(file=file, record=place, field="", message=str(error)))
            continue
        record = _parse_record(ObjectReader(value, file=file, record=place, problems=problems), subject)
        if record is not None:
            located.append((place, record))
            subject = subject or record.subject
    return located, problems


def _parse_record(reader: ObjectReader, subject: str | None) -> Record | None:
    if not reader.is_object:
        return None
    before = len(reader.problems)
    reader.refuse_unknown(_FIELDS)
    values = {
        "video": reader.path("video"),
        "subject": reader.text("subject"),
        "role": reader.choice("role", ROLES),
        "origin": reader.choice("origin", ORIGINS),
        "parent": reader.text("parent", required=False),
        "sha256": reader.get("sha256", str, required=False),
        "truth": reader.get("truth", dict, required=False) or {},
    }
    if subject is not None and values["subject"] not in (None, subject):
        near = suggestion(values["subject"], (subject,))
        reader.complain("subject", f"is '{values['subject']}' but '{subject}' was asked for; correct one of them{near}")
    if values["sha256"] is not None and not _SHA256.fullmatch(values["sha256"]):
        reader.complain("sha256", f"must be 64 lower-case hexadecimal digits, not '{values['sha256'][:80]}'; recompute it or write null")
    reader.check_characters("truth", json.dumps(values["truth"], ensure_ascii=False))
    _check_label(reader, values["role"], required=True)
    questions = _parse_questions(reader, values["role"])
    return Record(**values, questions=questions) if len(reader.problems) == before else None


def _check_label(reader: ObjectReader, role: str | None, *, required: bool) -> None:
    label = reader.choice("label", LABELS, required=required)
    expected = LABELS[0] if role == "positive" else LABELS[1]
    if label is not None and role is not None and label != expected:
        reader.complain("label", f"is '{label}', which contradicts the role '{role}' ('{expected}'); correct one of them")


def _parse_questions(reader: ObjectReader, role: str | None) -> tuple[Question, ...]:
    items = reader.get("questions", list)
    if items == []:
        reader.complain("questions", "is empty; a record without questions trains nothing, so add one or remove the record")
    questions = []
    for index, item in enumerate(items or ()):
        child = reader.child(item, f"questions[{index}]")
        if not child.is_object:
            continue
        child.refuse_unknown(_QUESTION_FIELDS)
        values = {"question": child.text("question"), "answer": child.text("answer"), "type": child.choice("type", QUESTION_TYPES)}
        _check_label(child, role, required=False)
        if None not in values.values():
            questions.append(Question(**values))
    return tuple(questions)
