"""Systems that look at no video and give the same verdict always: what any model has to beat."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pvchat_jax.config.evaluation_schema import ALWAYS_NO, ALWAYS_YES, MAJORITY
from pvchat_jax.data.records import Record
from pvchat_jax.evaluation.answer_record import Answer


class Gold(NamedTuple):
    """A question's type, whether the video shows the subject, and the true answer."""

    type: str
    present: bool
    answer: str


def golds_of(records: Iterable[Record]) -> list[Gold]:
    return [Gold(question.type, record.present, question.answer) for record in records for question in record.questions]


def constant(system: str, golds: Iterable[Gold]) -> Callable[[str, str], str]:
    """What a system says to a question of a type about a subject, whatever the video.

    Always saying yes gives the most common answer about content, always saying no refuses. The majority says what is true of most of
    the existence questions, and gives the most common answer about content.
    """
    golds = list(golds)
    existence = [gold.present for gold in golds if gold.type == "existence"]
    says_yes = {ALWAYS_YES: True, ALWAYS_NO: False, MAJORITY: 2 * sum(existence) > len(existence)}[system]
    common = {kind: _most_common([gold.answer for gold in golds if gold.type == kind and gold.present]) for kind in {g.type for g in golds}}

    def say(kind: str, subject: str) -> str:
        if kind == "existence":
            return f"Yes, {subject} is here." if says_yes else f"No, {subject} is not here."
        return f"{subject} is not here." if system == ALWAYS_NO else common[kind]

    return say


def constant_answers(answers: Sequence[Answer], system: str) -> list[Answer]:
    """What a constant system would answer to the questions of `answers`; it ranks nothing, so all its log-odds are 0."""
    say = constant(system, [Gold(answer.type, answer.present, answer.gold) for answer in answers])
    return [dataclasses.replace(a, answer=say(a.type, a.subject), log_odds=0.0 if a.type == "existence" else None) for a in answers]


def _most_common(texts: Sequence[str]) -> str:
    return max(sorted(set(texts)), key=texts.count) if texts else ""
