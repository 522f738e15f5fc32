import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.record_files import load_records, write_records
from pvchat_jax.data.records import ORIGINS, Record
from pvchat_jax.data.reference_json import origin_of, parse_reference, question_type
from pvchat_jax.errors import UserError

YES = [("Is <Aa> in this clip?", "Yes, <Aa> is."), ("Can you see <Aa>?", "<Aa> is visible.")]
NO = [("Is <Aa> in this clip?", "No, that is somebody else."), ("Can you see <Aa>?", "There is no sign of <Aa>.")]


def pairs(texts: list[tuple[str, str]], *, is_special: bool = True) -> list[dict[str, Any]]:
    return [{"question": question, "answer": answer, "is_special": is_special} for question, answer in texts]


def video(**changes: Any) -> dict[str, Any]:
    """A video of the one-person layout; a change to `...` removes the field."""
    values = {
        "video_name": "a1.mp4",
        "video_path": "/data/a1.mp4",
        "sks_present": "<Aa>",
        "gender": "male",
        "age": None,
        "is_positive": True,
        "qa_pairs": pairs(YES),
        **changes,
    }
    return {field: value for field, value in values.items() if value is not ...}


def load(folder: Path, videos: list[Any], subject: str = "<Aa>", *, top: str = "videos", name: str = "Aa.json") -> list[Record]:
    path = folder / name
    path.write_text(json.dumps({top: videos}))
    return load_records(path, subject)


@pytest.mark.parametrize("top", ["data", "videos"])
def test_one_person(tmp_path: Path, top: str) -> None:
    content = pairs([("What is <Aa> wearing?", "<Aa> wears a hat.")], is_special=False)
    positive = video(qa_pairs=pairs(YES) + content, video_path="clips/a2.mp4", ori_video_name="a1.mp4")
    negative = video(is_positive=False, qa_pairs=pairs(NO), gender="", age="")
    first, second = load(tmp_path, [positive, negative], top=top)
    assert (first.video, first.role, first.origin, first.parent) == (str(tmp_path / "clips/a2.mp4"), "positive", "real", "a1.mp4")
    assert [(q.question, q.answer, q.type) for q in first.questions] == [
        ("Is <Aa> in this clip?", "Yes, <Aa> is.", "existence"),
        ("Can you see <Aa>?", "<Aa> is visible.", "existence"),
        ("What is <Aa> wearing?", "<Aa> wears a hat.", "appearance"),
    ]
    assert (second.video, second.role, second.parent, second.subject, second.sha256) == (
        "/data/a1.mp4",
        "easy_negative",
        None,
        "<Aa>",
        None,
    )


def test_the_stated_label_beats_odd_questions_and_answers(tmp_path: Path) -> None:
    odd = pairs([("Is <Aa> in <Video>?", "<Aa> is not hidden.")])
    assert [record.present for record in load(tmp_path, [video(qa_pairs=odd), video(is_positive=False, qa_pairs=odd)])] == [True, False]


def test_placeholders_of_unfinished_files_become_the_name(tmp_path: Path) -> None:
    [record] = load(tmp_path, [video(sks_present="", qa_pairs=pairs([("Is <sks> here?", "<sks> is.")]))], "<Bo>", top="data")
    assert (record.questions[0].question, record.questions[0].answer) == ("Is <Bo> here?", "<Bo> is.")


def test_quotes_that_the_driver_script_left_are_removed(tmp_path: Path) -> None:
    [record] = load(tmp_path, [video(sks_present="'<Aa>'", qa_pairs=pairs([("Is '<Aa>' here?", "'<Aa>' is.")]))])
    assert (record.questions[0].question, record.questions[0].answer) == ("Is <Aa> here?", "<Aa> is.")


def people(sample_type: str, **changes: Any) -> dict[str, Any]:
    """A video of the two- or three-person layout with existence questions about everybody."""
    texts = [("Are <Nz> or <Ab> here?", "<Nz> is, but <Ab> is not.")]
    return video(sample_type=sample_type, sks_present=..., sks_present1="<Nz>", sks_present2="<Ab>", qa_pairs=pairs(texts), **changes)


@pytest.mark.parametrize(
    ("subject", "present"), [("<Nz>", ["person1", "both"]), ("<Ab>", ["person2", "both"])], ids=["first person", "second person"]
)
def test_two_people(tmp_path: Path, subject: str, present: list[str]) -> None:
    kinds = ["person1", "person2", "both", "random"]
    records = load(tmp_path, [people(kind) for kind in kinds], subject)
    assert [kind for kind, record in zip(kinds, records, strict=True) if record.present] == present
    assert {record.subject for record in records} == {subject}


@pytest.mark.parametrize(("number", "present"), [(1, {"person1", "both", "three"}), (3, {"person3", "three"})])
def test_three_people(tmp_path: Path, number: int, present: set[str]) -> None:
    kinds = ["person1", "person2", "person3", "both", "three", "random"]
    videos = [people(kind, sks_present3="<Cy>") for kind in kinds]
    for value in videos:
        value["qa_pairs"] = pairs([("Are <Nz>, <Ab> or <Cy> here?", "Perhaps.")])
    records = load(tmp_path, videos, {1: "<Nz>", 3: "<Cy>"}[number])
    assert {kind for kind, record in zip(kinds, records, strict=True) if record.present} == present


def test_person_one_may_stand_where_the_trainers_looked(tmp_path: Path) -> None:
    mended = {**people("person1"), "sks_present": "<Nz>"}
    del mended["sks_present1"]
    assert load(tmp_path, [mended], "<Nz>")[0].present
    with pytest.raises(UserError, match=r"videos\[0\], field 'sks_present1': is '<Nz>' but sks_present is '<Xy>'"):
        load(tmp_path, [{**people("person1"), "sks_present": "<Xy>"}], "<Nz>")


def test_content_questions_about_other_people_are_left_out(tmp_path: Path) -> None:
    both = people("both")
    both["qa_pairs"] += pairs([("What is <Nz> doing?", "<Nz> sits."), ("What is <Ab> doing?", "<Ab> runs.")], is_special=False)
    [record] = load(tmp_path, [both], "<Ab>")
    assert [question.question for question in record.questions] == ["Are <Nz> or <Ab> here?", "What is <Ab> doing?"]
    only_other = {**people("person1"), "qa_pairs": pairs([("What is <Nz> doing?", "<Nz> sits.")], is_special=False)}
    with pytest.raises(UserError, match="has no question about '<Ab>'"):
        load(tmp_path, [only_other], "<Ab>")


def test_names_of_unfinished_files_of_several_people_come_from_the_file_name(tmp_path: Path) -> None:
    value = people("person2") | {"sks_present1": "", "sks_present2": "", "gender2": "male"}
    value["qa_pairs"] = pairs([("Are <sks1> or <sks2> here?", "<sks2> is, <sks1> is not.")])
    [record] = load(tmp_path, [value], "<Ab>", top="data", name="train_all_video_Nz_Ab.json")
    assert record.present and record.questions[0].answer == "<Ab> is, <Nz> is not."
    with pytest.raises(UserError, match="name nobody while '<Ab>'"):
        load(tmp_path, [value], "<Ab>", top="data", name="train.json")


def test_legacy_label_is_the_owner_of_the_video(tmp_path: Path) -> None:
    texts = [("Do you see <sks> anywhere?", "Yes, <sks> is here."), ("What is <sks> doing?", "<sks> reads.")]
    legacy = {"is_positive": ..., "qa_pairs": [{"question": question, "answer": answer} for question, answer in texts]}
    owner, other = load(tmp_path, [video(sks_present="Aa", **legacy), video(sks_present="Bo", **legacy)])
    assert (owner.present, other.present) == (True, False)
    assert [(q.answer, q.type) for q in owner.questions] == [("Yes, <Aa> is here.", "existence"), ("<Aa> reads.", "action")]
    assert [q.answer for q in other.questions] == ["No, <Aa> is not in this video.", "<Aa> is not seen in this video."]
    with pytest.raises(UserError, match=r"'Ab' in none of 1 videos.*did you mean 'Aa'"):
        load(tmp_path, [video(sks_present="Aa", **legacy)], "<Ab>")


def result(texts: list[tuple[str, str]], **changes: Any) -> dict[str, Any]:
    values = [{**pair, "generated_answer": "Yes."} for pair in pairs(texts)]
    return {"video_path": "/data/a.mp4", "qa_pairs": values, **changes}


def test_results_lost_the_label_and_gold_answers_restore_it(tmp_path: Path) -> None:
    odd = [("Is <Aa> here?", "<Aa> is here."), *NO]
    records = load(tmp_path, [result(YES), result(NO), result(odd), result(YES, is_positive=False)], top="results")
    assert [record.present for record in records] == [True, False, False, False]
    with pytest.raises(UserError, match=r"results\[0\], field 'is_positive': .*answers are split; write true or false"):
        load(tmp_path, [result([YES[0], NO[0]])], top="results")
    with pytest.raises(UserError, match="it has no existence question"):
        load(tmp_path, [{**result(YES), "qa_pairs": pairs([("What is <Aa> doing?", "<Aa> sits.")], is_special=False)}], top="results")


def test_results_about_several_people_are_read_for_the_one_asked_for(tmp_path: Path) -> None:
    texts = [("Are <Nz> or <Ab> here?", "<Nz> is, but <Ab> is not."), ("Do you see <Nz> or <Ab>?", "Only <Nz>, with no trace of <Ab>.")]
    videos = [result([*texts, ("Is <Nz> tall?", "Yes.")], is_positive=True)]
    for subject, present in (("<Nz>", True), ("<Ab>", False)):
        [record] = load(tmp_path, videos, subject, top="results", name="test_results_3people.json")
        assert record.present == present and len(record.questions) == (3 if present else 2)
    with pytest.raises(UserError, match="has no question about '<Xy>'"):
        load(tmp_path, videos, "<Xy>", top="results")


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/out/a1/consisid_generation/42_0001.mp4", "t2v"),
        ("/out/a1/consisid_generation2/42_0001.mp4", "t2v"),
        ("/out/a1/5_movie_video/output_2_yes_512.mp4", "animated"),
        ("/out/a1/photomaker/scene_0/output_1.mp4", "t2v"),
        ("/out/a1/similar_image/3.mp4", "retrieved"),
        ("/out/Aa_short_video/a1_5_movie_video_output_2_yes_512_short_video.mp4", "animated"),
        ("C:\\out\\a1\\consisid_generation\\42_0001.mp4", "t2v"),
        ("/out/Aa_short_video/a1_clip_short_video.mp4", "real"),
        ("/data/my_consisid_generation_notes/a1.mp4", "real"),
    ],
)
def test_origin_follows_the_folder_of_the_step(path: str, origin: str) -> None:
    assert origin_of(path) == origin


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which activity is <Aa> engaged in?", "action"),
        ("Could you say what <Aa> is doing?", "action"),
        ("What specific actions do you see from <Aa>?", "action"),
        ("How would you describe the movements of <Aa>?", "action"),
        ("Can you describe <Aa>'s behaviour?", "action"),
        ("What does <Aa> wear?", "appearance"),
        ("Could you describe <Aa>'s outfit?", "appearance"),
        ("Which colour and style of clothing does <Aa> have?", "appearance"),
        ("How would you describe <Aa>'s appearance?", "appearance"),
        ("How would you describe <Aa>?", "appearance"),
        ("What notable features does <Aa> have?", "appearance"),
        ("Where is <Aa> positioned?", "location"),
        ("Can you say where <Aa> is relative to others?", "location"),
        ("Which part of the scene does <Aa> appear in?", "location"),
        ("How does <Aa>'s position change?", "location"),
        ("What else?", "action"),
    ],
)
def test_content_type_follows_the_wording(question: str, expected: str) -> None:
    assert question_type(question, False) == question_type(question) == expected
    assert question_type(question, True) == "existence"


@pytest.mark.parametrize("question", ["Does <Aa> make an appearance?", "Have you located <Aa>?", "I wonder if <Aa> appears anywhere?"])
def test_unmarked_yes_no_questions_are_about_existence(question: str) -> None:
    assert question_type(question) == "existence"


BROKEN = {
    "no path": (video(video_path=...), "field 'video_path': is missing"),
    "empty path": (video(video_path=""), "field 'video_path': is empty"),
    "label": (video(is_positive="yes"), "field 'is_positive': must be true or false, not a string"),
    "number as label": (video(is_positive=1), "field 'is_positive': must be true or false, not a number"),
    "pairs": (video(qa_pairs={}), "field 'qa_pairs': must be a list, not an object"),
    "no pairs": (video(qa_pairs=[]), "field 'qa_pairs': is empty"),
    "pair": (video(qa_pairs=["q"]), r"field 'qa_pairs\[0\]': must be an object, not a string"),
    "answer": (video(qa_pairs=[{"question": "q", "answer": None}]), r"field 'qa_pairs\[0\].answer': must be a string, not null"),
    "special": (video(qa_pairs=[{"question": "q", "answer": "a", "is_special": 1}]), r"field 'qa_pairs\[0\].is_special': must be true or"),
    "sample type": (video(sample_type="persn1"), r"field 'sample_type': 'persn1' is not one of .*did you mean 'person1'\?"),
    "subject": (video(sks_present="<Ab>"), r"field 'sks_present': is '<Ab>' but '<Aa>' was asked for.*did you mean '<Ab>'\?"),
    "type of subject": (video(sks_present=3), "field 'sks_present': must be a string"),
    "parent": (video(ori_video_name=[]), "field 'ori_video_name': must be a string"),
    "others": (people("person1"), r"field 'sks_present1': .*'<Nz>', '<Ab>' while '<Aa>' was asked for"),
    "video": ("a.mp4", "must be an object, not a string"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_video_is_named_with_its_field(tmp_path: Path, name: str) -> None:
    broken, message = BROKEN[name]
    videos = [broken] if name == "others" else [video(), broken]
    with pytest.raises(UserError, match=rf"Aa\.json, videos\[{len(videos) - 1}\](, |: ).*{message}"):
        load(tmp_path, videos)


def test_each_fault_is_reported_once() -> None:
    _, problems = parse_reference(json.dumps({"data": ["a.mp4", video(video_path=3), video(is_positive=1)]}), "Aa.json", "<Aa>")
    assert [(problem.record, problem.field) for problem in problems] == [
        ("data[0]", ""),
        ("data[1]", "video_path"),
        ("data[2]", "is_positive"),
    ]


@pytest.mark.parametrize(
    ("values", "subject"),
    [([video(sks_present=""), video()], "<Aa>"), ([people("both")], "<Nz>"), ([result(YES)], None)],
    ids=["one person", "two people", "results"],
)
def test_without_a_subject_the_first_name_of_the_file_is_taken(values: list[Any], subject: str | None) -> None:
    located, problems = parse_reference(json.dumps({"data": values}), "file.json", None)
    assert {record.subject for _, record in located} == ({subject} if subject else set())
    assert [problem.message for problem in problems] == ([] if subject else ["names nobody; say which subject is meant"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ("[]", "must be an object, not a list"),
        ('{"video": []}', r"\.jsonl"),
        ('{"viddeos": []}', "none of the lists data, videos, results; did you mean 'videos'"),
        ('{"data": [], "videos": []}', "'data', 'videos' together"),
        ('{"data": 3}', "field 'data': must be a list"),
        ('{"data": []}', "has no records"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=rf"a\.json.*{message}"):
        load_records(tmp_path / "a.json", "<Aa>")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["<Aa>", "Aa", "both", "person2", ""])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)
FIELDS = "video_path sks_present sks_present1 sks_present2 sks_present3 gender2 sample_type is_positive qa_pairs ori_video_name".split()
PAIR = st.fixed_dictionaries({"question": st.sampled_from(["Is <Aa> here?", "Where?"]) | SCALARS, "answer": SCALARS})
VIDEO = st.dictionaries(st.sampled_from(FIELDS), SCALARS) | st.fixed_dictionaries(
    {"video_path": st.text(min_size=1), "qa_pairs": st.lists(PAIR | ANYTHING, max_size=3)},
    optional={field: SCALARS for field in FIELDS if field not in ("video_path", "qa_pairs")},
)
FILES = st.builds(lambda top, videos: {top: videos}, st.sampled_from(["data", "videos", "results"]), st.lists(VIDEO | ANYTHING, max_size=3))


@settings(max_examples=200, deadline=None)
@given(value=FILES | ANYTHING, subject=st.sampled_from(["<Aa>", None]))
def test_any_json_gives_problems_or_valid_records(tmp_path_factory: pytest.TempPathFactory, value: Any, subject: str | None) -> None:
    located, problems = parse_reference(json.dumps(value), "Aa_Bo.json", subject)
    assert all(str(problem).startswith("Aa_Bo.json") for problem in problems)
    for place, record in located:
        assert "[" in place and record.origin in ORIGINS and record.video and record.questions
        assert all(question.type in QUESTION_TYPES and question.question and question.answer for question in record.questions)
    if located:
        path = tmp_path_factory.mktemp("records") / "train.jsonl"
        write_records(path, [record for _, record in located])
        assert len(load_records(path, located[0][1].subject)) == len(located)


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_any_text_gives_problems(text: str) -> None:
    located, problems = parse_reference(text, "a.json", "<Aa>")
    assert not located
    assert problems or json.loads(text) in ({"data": []}, {"videos": []}, {"results": []})
