"""The parts of a test set that are scored apart."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.evaluation.answer_record import Answer, describe_person

EVERYTHING = "everything"


class Slice(NamedTuple):
    """Part `name` of the answers; slices of one `kind` are disjoint and together everything."""

    kind: str
    name: str

    @property
    def title(self) -> str:
        return self.name if self.kind == EVERYTHING else f"{self.kind} {self.name}"


def _people(answer: Answer) -> str:
    is_several = (answer.people or 1) > 1 or len(set(re.findall(r"<\w+>", answer.question))) > 1
    return "several" if is_several else "one, or not stated"


def _clips(answer: Answer) -> str:
    return {"real": "real", "unknown": "of unknown origin"}.get(answer.origin, "synthetic")


KINDS: dict[str, Callable[[Answer], str]] = {
    EVERYTHING: lambda answer: EVERYTHING,
    "question type": lambda answer: answer.type,
    "subject": lambda answer: answer.subject,
    "people": _people,
    "clips": _clips,
    "in the video": describe_person,
}


def slices_of(answers: Sequence[Answer]) -> list[Slice]:
    """The slices that occur; those of a kind of which there is one alone would repeat everything and are left out."""
    found = []
    for kind, name_of in KINDS.items():
        names = dict.fromkeys(map(name_of, answers))
        if kind == "question type":
            names = dict.fromkeys(name for name in QUESTION_TYPES if name in names)
        if kind == EVERYTHING or len(names) > 1:
            found += [Slice(kind, name) for name in names]
    return found


def pick(answers: Sequence[Answer], part: Slice) -> list[Answer]:
    """The answers of a slice."""
    name_of = KINDS[part.kind]
    return [answer for answer in answers if name_of(answer) == part.name]
