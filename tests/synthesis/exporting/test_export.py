import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.record_files import load_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.reference_json import parse_reference
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.phrases import PHRASES
from pvchat_jax.synthesis.exporting.export import export, write_original
from tests.synthesis.made import good_clips, training_set, used_clip

NAMES = ("<Wilson>", "<Ada>", "<Bo>")
TEXTS = {name: [text.format(name="{}") for text in PHRASES.content[name]] for name in QUESTION_TYPES[1:]}


@st.composite
def one_person(draw):
    """Records with questions of our own wordings, whose types the original's layout does not say."""
    records = []
    for index in range(draw(st.integers(1, 4))):
        present = draw(st.booleans())
        questions = [_existence(draw(st.sampled_from(PHRASES.existence)), NAMES[0], present)]
        for kind in draw(st.sets(st.sampled_from(QUESTION_TYPES[1:]))):
            text = draw(st.sampled_from(TEXTS[kind])).format(NAMES[0])
            questions.append(
                Question(question=text, answer=f"{NAMES[0]} {'stands there' if present else 'is not in the video'}.", type=kind)
            )
        parent = draw(st.none() | st.just("one.mp4"))
        role = "positive" if present else "easy_negative"
        records.append(Record(video=f"/set/{index}.mp4", subject=NAMES[0], role=role, origin="real", parent=parent, questions=questions))
    return records


def _existence(phrase, name: str, present: bool) -> Question:
    return Question(
        question=phrase.question.format(name=name), answer=(phrase.yes if present else phrase.no).format(name=name), type="existence"
    )


@given(one_person())
def test_what_is_written_in_the_originals_layout_is_read_back(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("set") / "set.json"
    write_original(path, {NAMES[0]: records})
    located, problems = parse_reference(path.read_text(), str(path), NAMES[0])
    assert not problems
    assert [dataclasses.replace(record, questions=()) for _, record in located] == [dataclasses.replace(r, questions=()) for r in records]
    for (_, read), record in zip(located, records, strict=True):
        assert [(q.question, q.answer) for q in read.questions] == [(q.question, q.answer) for q in record.questions]
        assert [q.type == "existence" for q in read.questions] == [q.type == "existence" for q in record.questions]


@pytest.mark.parametrize("people", [2, 3])
def test_several_people_are_read_back_each_with_their_own_presence(tmp_path, people):
    names = NAMES[:people]
    shown = [set(), {0}, {1}, {0, 1}] + ([{2}, {0, 1, 2}] if people == 3 else [])
    by_subject = {name: [] for name in names}
    for index, present in enumerate(shown):
        for number, name in enumerate(names):
            questions = (_existence(PHRASES.existence[index], name, number in present),)
            role = "positive" if number in present else "easy_negative"
            by_subject[name].append(Record(video=f"/set/{index}.mp4", subject=name, role=role, origin="real", questions=questions))
    write_original(tmp_path / "set.json", by_subject)
    for name in names:
        located, problems = parse_reference((tmp_path / "set.json").read_text(), "set.json", name)
        assert not problems and [dataclasses.replace(record, truth={}) for _, record in located] == by_subject[name]
        counts = [record.truth.get("people", 0) for _, record in located]
        assert counts == [people if len(present) == people else len(present) for present in shown]


def test_what_the_layout_cannot_say_is_refused(tmp_path):
    question = (_existence(PHRASES.existence[0], "<Bo>", True),)
    records = {
        name: [
            Record(video="/v.mp4", subject=name, role="easy_negative" if name == "<Ada>" else "positive", origin="real", questions=question)
        ]
        for name in NAMES
    }
    with pytest.raises(UserError, match="<Wilson> and <Bo> alone"):
        write_original(tmp_path / "set.json", records)
    with pytest.raises(UserError, match="4 people"):
        write_original(tmp_path / "set.json", {**records, "<Cy>": []})


def test_each_split_is_a_file_and_stage_1_gets_stills_of_train_with_what_a_frame_can_answer(tmp_path):
    clips = [*good_clips(2), used_clip("t", split="test", source="3", origin="real"), dataclasses.replace(used_clip("s"), still="")]
    files = export(tmp_path, training_set(clips), {"1": "one.mp4", "2": "other.mp4"})
    assert set(files) == {"train", "test", "stage1"}
    stills = load_records(files["stage1"], "<Wilson>")
    assert [record.parent for record in stills] == [f"clips/{name}.mp4" for name in ("p0", "p1", "n0", "n1")]
    assert {question.type for record in stills for question in record.questions} == {"existence", "appearance"}
    train = load_records(files["train"], "<Wilson>")
    assert [record.role for record in train] == ["positive", "positive", "hard_negative", "easy_negative", "positive"]
    assert {record.parent for record in train} == {"one.mp4", "other.mp4"} and all(record.origin == "composited" for record in train)
    assert json.loads((tmp_path / "original_json" / "test.json").read_text())["videos"][0]["is_positive"] is True
    files = export(tmp_path, training_set(good_clips(2)), {})
    assert "test" not in files and not (tmp_path / "test.jsonl").exists() and not (tmp_path / "original_json" / "test.json").exists()
