"""What is asked about a clip, and that every answer fits who is in it."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from pvchat_jax.data.presence import parse_presence
from pvchat_jax.data.record_files import write_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.validation import check_file
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.asking import QUESTIONS, ask_clip, ask_clip_about_several
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.captioners.truth import CAST_PHRASES, TruthCaptioner
from pvchat_jax.synthesis.records import Clip, SetAside
from pvchat_jax.world.plan import plan_video
from pvchat_jax.world.questions import TRAIN_QUESTIONS, ask

SUBJECT = "<Wilson>"
VIEW = ClipView(np.zeros((2, 8, 8, 3), np.uint8), {"who": "Wilson"})
REPLIES = {"appearance": "The person wears a cap.", "action": "He waves.", "location": "In a kitchen."}
NAMED = {"appearance": "<Wilson> wears a cap.", "action": "<Wilson> waves.", "location": "<Wilson> is in a kitchen."}


class Scripted:
    """Gives `REPLIES`; to the first `num_bad` questions of each type it says that it cannot see anybody."""

    name = "script"
    leaves_machine = False

    def __init__(self, num_bad: int = 0) -> None:
        self.asked: list[tuple[ClipView, Question]] = []
        self._bad = dict.fromkeys(REPLIES, num_bad)

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        self.asked += [(view, question) for question in questions]
        replies = []
        for question in questions:
            self._bad[question.type] -= 1
            replies.append("I cannot see the person." if self._bad[question.type] >= 0 else REPLIES[question.type])
        return replies


def clip(role: str) -> Clip:
    return Clip(name="clip_7", video="clip_7.mp4", role=role, origin="composited", source="0" * 64, tool="t 1", seed=0, sha256="0" * 64)


def asked(role: str, captioner: Scripted, seed: int = 0) -> tuple[Question, ...]:
    return ask_clip(clip(role), SUBJECT, captioner, VIEW, np.random.default_rng(seed))


def test_a_positive_is_asked_all_types_and_answers_bear_the_name() -> None:
    captioner = Scripted()
    questions = asked("positive", captioner)
    assert {name: sum(question.type == name for question in questions) for name in QUESTIONS} == QUESTIONS
    assert len({question.question for question in questions}) == len(questions)
    for question in questions:
        assert question.question.count(SUBJECT) == 1
        if question.type == "existence":
            assert parse_presence(question.answer, SUBJECT) == "present"
        else:
            assert question.answer == NAMED[question.type]
    texts = [question.question for _, question in captioner.asked]
    assert all("he person" in text and text[0].isupper() and "Wilson" not in text for text in texts)


@pytest.mark.parametrize("role", ["hard_negative", "easy_negative"])
def test_negatives_are_asked_the_same_and_refused_without_the_captioner(role: str) -> None:
    captioner = Scripted()
    questions = asked(role, captioner)
    assert [question.question for question in questions] == [question.question for question in asked("positive", Scripted())]
    assert all(parse_presence(question.answer, SUBJECT) == "absent" for question in questions)
    assert not captioner.asked
    assert len({question.answer for question in questions if question.type == "action"}) > 1


def test_the_same_seed_asks_the_same_and_another_does_not() -> None:
    assert asked("positive", Scripted()) == asked("positive", Scripted()) != asked("positive", Scripted(), seed=1)


def test_for_an_answer_of_no_use_another_question_is_asked_and_it_is_reported() -> None:
    reported: list[SetAside] = []
    captioner = Scripted(num_bad=2)
    questions = ask_clip(clip("positive"), SUBJECT, captioner, VIEW, np.random.default_rng(0), report=reported.append)
    assert sum(question.type == "action" for question in questions) == 5
    assert len(reported) == 6 and all(aside.item == "clip_7" and "denies" in aside.reason for aside in reported)
    hopeless = ask_clip(clip("positive"), SUBJECT, Scripted(num_bad=99), VIEW, np.random.default_rng(0))
    assert {question.type for question in hopeless} == {"existence"}


def test_more_questions_than_there_are_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="'existence'"):
        ask_clip(clip("positive"), SUBJECT, Scripted(), VIEW, np.random.default_rng(0), counts={**QUESTIONS, "existence": 99})


@pytest.mark.parametrize("names", [("<Wilson>", "<Ada>"), ("<Wilson>", "<Ada>", "<Bo>")], ids=len)
def test_every_combination_of_several_subjects_is_told_right(names: tuple[str, ...]) -> None:
    views = {name: VIEW._replace(truth={"who": name}) for name in names}
    for present in itertools.chain.from_iterable(itertools.combinations(names, number) for number in range(len(names) + 1)):
        captioner = Scripted()
        given = {name: views[name] if name in present else None for name in names}
        questions = ask_clip_about_several(clip("positive"), given, captioner, np.random.default_rng(len(present)))
        joint = [question for question in questions if all(name in question.question for name in names)]
        assert len(joint) == 5
        for name in names:
            expected = "present" if name in present else "absent"
            assert {parse_presence(question.answer, name) for question in joint} == {expected}
            alone = [question for question in questions if name in question.question and question not in joint]
            assert len(alone) == sum(QUESTIONS.values())
            for question in alone:
                if name not in present or question.type == "existence":
                    assert parse_presence(question.answer, name) == expected
                else:
                    assert question.answer == NAMED[question.type].replace(SUBJECT, name)
        assert {view.truth["who"] for view, _ in captioner.asked} == set(present)


@pytest.mark.parametrize("role", ["positive", "easy_negative"])
def test_what_is_known_to_be_open_is_asked_of_nobody(role: str) -> None:
    captioner = Scripted()
    one = dataclasses.replace(clip(role), truth={"scene": "stage", "action": None})
    questions = ask_clip(one, SUBJECT, captioner, VIEW, np.random.default_rng(0))
    assert {question.type for question in questions} == {"existence", "appearance", "location"}


def test_the_order_of_names_does_not_tell_who_is_there() -> None:
    given = {"<Wilson>": VIEW, "<Ada>": None}
    firsts = set()
    for seed in range(4):
        for question in ask_clip_about_several(clip("positive"), given, Scripted(), np.random.default_rng(seed)):
            if all(name in question.question for name in given):
                firsts.add(min(given, key=question.question.index))
    assert firsts == set(given)


def test_a_set_that_was_asked_passes_the_validator(tmp_path) -> None:
    records = []
    for number, role in enumerate(("positive", "hard_negative")):
        (tmp_path / f"{number}.mp4").write_bytes(bytes([number]))
        records.append(
            Record(video=f"{number}.mp4", subject=SUBJECT, role=role, origin="composited", questions=asked(role, Scripted(), number))
        )
    write_records(tmp_path / "train.jsonl", records)
    findings = check_file(tmp_path / "train.jsonl", SUBJECT)
    assert not findings.problems and not findings.warnings


@pytest.mark.parametrize("index", range(6))
def test_the_cast_is_asked_and_answered_as_the_world_does(index: int) -> None:
    plan = plan_video(3, "train", index)
    rng = np.random.default_rng(0)
    view = VIEW._replace(truth=plan.truth())
    counts = {**TRAIN_QUESTIONS, "location": 4}
    found = ask_clip(clip(plan.role), SUBJECT, TruthCaptioner(), view, rng, phrases=CAST_PHRASES, counts=counts)
    assert {(question.type, question.answer) for question in found} == {(question.type, question.answer) for question in ask(plan, SUBJECT)}


def test_what_the_truth_does_not_tell_is_said() -> None:
    view = VIEW._replace(truth={"outfit": {"colour": "red", "garment": "shirt", "hat": "none"}})
    assert TruthCaptioner().answer(view, [Question(question="?", answer="", type="appearance")]) == ["A red shirt."]
    with pytest.raises(UserError, match="'action'"):
        TruthCaptioner().answer(view, [Question(question="?", answer="", type="action")])
