import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.record_files import load_records, write_records
from pvchat_jax.data.records import ORIGINS, ROLES, Question, Record
from pvchat_jax.errors import UserError

SUBJECT = "<Wilson>"


def line(**changes: Any) -> dict[str, Any]:
    """A correct line as a JSON object; a change to `...` removes the field."""
    values = {
        "video": "clips/a.mp4",
        "subject": SUBJECT,
        "role": "positive",
        "label": "present",
        "origin": "real",
        "parent": None,
        "sha256": "0" * 64,
        "questions": [{"question": "Is <Wilson> here?", "answer": "Yes, <Wilson> is.", "type": "existence"}],
        "truth": {"action": "waves"},
    }
    return {field: value for field, value in {**values, **changes}.items() if value is not ...}


def question(**changes: Any) -> list[dict[str, Any]]:
    values = {"question": "What is <Wilson> doing?", "answer": "<Wilson> waves.", "type": "action", **changes}
    return [line()["questions"][0], {field: value for field, value in values.items() if value is not ...}]


def write_lines(folder: Path, *values: Any) -> Path:
    path = folder / "train.jsonl"
    path.write_text("".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values), encoding="utf-8")
    return path


def test_reads_every_field(tmp_path: Path) -> None:
    [record] = load_records(write_lines(tmp_path, "", line(parent="b.mp4")), SUBJECT)
    assert record == Record(
        video=str(tmp_path / "clips/a.mp4"),
        subject=SUBJECT,
        role="positive",
        origin="real",
        parent="b.mp4",
        sha256="0" * 64,
        questions=(Question(question="Is <Wilson> here?", answer="Yes, <Wilson> is.", type="existence"),),
        truth={"action": "waves"},
    )


def test_video_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(tmp_path, line(), line(video="/elsewhere/b.mp4"))
    monkeypatch.chdir(tmp_path)
    assert [record.video for record in load_records(Path("train.jsonl"), SUBJECT)] == [str(tmp_path / "clips/a.mp4"), "/elsewhere/b.mp4"]


@pytest.mark.parametrize("role", ROLES)
def test_presence_follows_the_role(tmp_path: Path, role: str) -> None:
    label = "present" if role == "positive" else "absent"
    [record] = load_records(write_lines(tmp_path, line(role=role, label=label)), SUBJECT)
    assert record.present == (role == "positive") and record.label == label


def test_optional_fields_may_be_left_out(tmp_path: Path) -> None:
    [record] = load_records(write_lines(tmp_path, line(parent=..., sha256=..., truth=...)), SUBJECT)
    assert (record.parent, record.sha256, dict(record.truth)) == (None, None, {})


BROKEN = {
    "origin": (line(origin="reel"), r"field 'origin': 'reel' is not one of .*; did you mean 'real'\?"),
    "role": (line(role="hard_negativ"), r"field 'role': .*did you mean 'hard_negative'\?"),
    "unknown label": (line(label="presnt"), r"field 'label': .*did you mean 'present'\?"),
    "label against role": (line(role="easy_negative"), r"field 'label': is 'present', which contradicts the role 'easy_negative'"),
    "missing video": (line(video=...), "field 'video': is missing"),
    "missing label": (line(label=...), "field 'label': is missing"),
    "misspelt field": (line(questions=..., qustions=[]), r"field 'qustions': is not a known field.*did you mean 'questions'\?"),
    "null video": (line(video=None), "field 'video': must be a string, not null"),
    "number for video": (line(video=3), "field 'video': must be a string, not a number"),
    "blank video": (line(video=" "), "field 'video': is empty"),
    "short sha256": (line(sha256="abc"), "field 'sha256': must be 64 lower-case"),
    "upper-case sha256": (line(sha256="A" * 64), "field 'sha256': must be 64 lower-case"),
    "list for truth": (line(truth=[1]), "field 'truth': must be an object, not a list"),
    "other subject": (line(subject="<Wilsen>"), r"field 'subject': is '<Wilsen>' but '<Wilson>' was asked for.*did you mean '<Wilson>'\?"),
    "no questions": (line(questions=[]), "field 'questions': is empty"),
    "object for questions": (line(questions={}), "field 'questions': must be a list, not an object"),
    "string for question": (line(questions=["Is he?"]), r"field 'questions\[0\]': must be an object, not a string"),
    "type of question": (line(questions=question(type="actoin")), r"field 'questions\[1\].type': .*did you mean 'action'\?"),
    "blank answer": (line(questions=question(answer="")), r"field 'questions\[1\].answer': is empty"),
    "missing question": (line(questions=question(question=...)), r"field 'questions\[1\].question': is missing"),
    "label of question": (line(questions=question(label="absent")), r"field 'questions\[1\].label': .*contradicts"),
    "field of question": (line(questions=question(anwser="a")), r"field 'questions\[1\].anwser': .*did you mean 'answer'\?"),
    "half character": (line(video="\ud800.mp4"), "field 'video': has half of a surrogate pair"),
    "half character in truth": (line(truth={"\ud800": 1}), "field 'truth': has half of a surrogate pair"),
    "NUL": (line(video="a\0.mp4"), "field 'video': has a NUL"),
    "list": ([], "must be an object, not a list"),
    "cut off": ('{"video": "a.mp4", ', "is not valid JSON"),
    "NaN": ('{"truth": {"x": NaN}}', "NaN"),
    "too large": ('{"truth": {"x": 1e999}}', "too large"),
    "twice": ('{"video": "a", "video": "b"}', "'video' twice"),
    "nested": ("[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_named_with_its_field(tmp_path: Path, name: str) -> None:
    broken, message = BROKEN[name]
    path = write_lines(tmp_path, line(), broken)
    with pytest.raises(UserError, match=rf"^{path}, line 2(, |: ).*{message}"):
        load_records(path, SUBJECT)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl does not exist"):
        load_records(tmp_path / "absent.jsonl", SUBJECT)
    with pytest.raises(UserError, match="suffix"):
        load_records(tmp_path / "train.txt", SUBJECT)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match="is a directory"):
        load_records(tmp_path / "folder.json", SUBJECT)
    with pytest.raises(UserError, match="has no records"):
        load_records(write_lines(tmp_path, "", ""), SUBJECT)
    (tmp_path / "train.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match="is not UTF-8"):
        load_records(tmp_path / "train.jsonl", SUBJECT)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(line()).encode() + b"\r\n")
    assert len(load_records(path, SUBJECT)) == 1


def test_written_lines_keep_one_order_of_fields(tmp_path: Path) -> None:
    [record] = load_records(write_lines(tmp_path, line()), SUBJECT)
    write_records(str(tmp_path / "out.jsonl"), [record])
    written = json.loads((tmp_path / "out.jsonl").read_text())
    assert list(written.items()) == list(line(video=record.video).items())


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path, line())
    before = path.read_text()
    [record] = load_records(path, SUBJECT)
    with pytest.raises(ValueError, match="JSON"):
        write_records(path, [record, dataclasses.replace(record, truth={"x": float("nan")})])
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_written_files_must_be_readable_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.jsonl"):
        write_records(tmp_path / "train.json", [])


def test_code_cannot_make_impossible_records() -> None:
    with pytest.raises(ValueError, match="colour"):
        Question(question="q", answer="a", type="colour")
    with pytest.raises(ValueError, match="role"):
        Record(video="a", subject="<A>", role="negative", origin="real", questions=())
    with pytest.raises(ValueError, match="origin"):
        Record(video="a", subject="<A>", role="positive", origin="fake", questions=())


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
QUESTIONS = st.builds(Question, question=TEXT, answer=TEXT, type=st.sampled_from(QUESTION_TYPES))
RECORDS = st.builds(
    Record,
    video=TEXT.map(lambda text: f"/{text}"),
    subject=st.just(SUBJECT),
    role=st.sampled_from(ROLES),
    origin=st.sampled_from(ORIGINS),
    parent=st.none() | TEXT,
    sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    questions=st.lists(QUESTIONS, min_size=1, max_size=3),
    truth=st.dictionaries(TEXT, JSON_VALUES, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(records=st.lists(RECORDS, min_size=1, max_size=3))
def test_any_records_survive_writing_and_reading(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    path = tmp_path_factory.mktemp("records") / "train.jsonl"
    write_records(path, records)
    assert load_records(path, SUBJECT) == records
