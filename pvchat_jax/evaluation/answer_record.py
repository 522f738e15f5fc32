"""One generated answer with everything that scoring it needs."""

import dataclasses
from typing import NamedTuple


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
