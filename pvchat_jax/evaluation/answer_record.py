"""One generated answer with everything that scoring it needs."""

import dataclasses
from typing import NamedTuple

from pvchat_jax.data.records import Question, Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about one video with its gold and its generated answer.

    Attributes:
      video: path of the video file.
      role, origin: of the video's record (data/records.py).
      type: one of `config.schema.QUESTION_TYPES`.
      log_odds: log p("Yes") - log p("No") of the first answer token, in nats; existence questions only.
      grade: in how many attributes a look-alike differs from the subject, where the record's truth says so.
      people: how many people the video shows, where the record's truth says so.
    """

    video: str
    subject: str
    role: str
    origin: str
    question: str
    type: str
    gold: str
    answer: str
    log_odds: float | None = None
    grade: int | None = None
    people: int | None = None

    @property
    def present(self) -> bool:
        return self.role == "positive"


class SetAside(NamedTuple):
    """A video that could not be read, and why."""

    video: str
    reason: str


def describe_person(answer: Answer) -> str:
    """Who is in the answer's video: `present`, `stranger`, or `look-alike` with its grade where that is known."""
    if answer.role != "hard_negative":
        return "present" if answer.present else "stranger"
    return "look-alike" if answer.grade is None else f"look-alike, grade {answer.grade}"


def as_answer(record: Record, question: Question, text: str, log_odds: float | None = None) -> Answer:
    """`text` as the answer to a question about a video."""
    return Answer(
        video=record.video,
        subject=record.subject,
        role=record.role,
        origin=record.origin,
        question=question.question,
        type=question.type,
        gold=question.answer,
        answer=text,
        log_odds=log_odds,
        grade=_grade(record),
        people=_people(record),
    )


def _grade(record: Record) -> int | None:
    """In how many attributes a look-alike differs from the subject, where the record's truth lists them."""
    differences = record.truth.get("differences")
    return len(differences) if record.role == "hard_negative" and isinstance(differences, list) and differences else None


def _people(record: Record) -> int | None:
    """How many people the video shows, where the record's truth says so."""
    if "bystander" in record.truth:
        return 2 if record.truth["bystander"] else 1
    people = record.truth.get("people")
    return people if isinstance(people, int) else None
