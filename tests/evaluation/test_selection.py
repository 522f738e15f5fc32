"""Which records an evaluation asks about."""

import pytest

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import Question, Record
from pvchat_jax.evaluation.selection import choose_records

ROLES = {"p": "positive", "e": "easy_negative", "h": "hard_negative"}
QUESTIONS = tuple(Question(question="?", answer="!", type=kind) for kind in ("existence", "action"))


def records_of(roles: str) -> list[Record]:
    return [
        Record(video=f"{index}.mp4", subject="<Wilson>", role=ROLES[letter], origin="real", questions=QUESTIONS)
        for index, letter in enumerate(roles)
    ]


@pytest.mark.parametrize(
    ("roles", "limit", "chosen"),
    [
        ("pepheh", None, [0, 1, 2, 3, 4, 5]),
        ("ppppeeee", 4, [0, 1, 4, 5]),
        ("pepepepe", 3, [0, 1, 2]),
        ("eeeepp", 5, [0, 1, 2, 4, 5]),
        ("pppp", 2, [0, 1]),
        ("pe", 9, [0, 1]),
    ],
)
def test_a_limit_keeps_both_labels_and_the_order(roles: str, limit: int | None, chosen: list[int]) -> None:
    records = records_of(roles)
    assert choose_records(records, QUESTION_TYPES, limit) == [records[index] for index in chosen]


def test_only_questions_that_the_model_was_trained_on_are_asked() -> None:
    (chosen,) = choose_records(records_of("p"), ("action",), None)
    assert [question.type for question in chosen.questions] == ["action"]
    assert choose_records(records_of("p"), ("location",), 1) == []
