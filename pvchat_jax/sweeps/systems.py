"""What the systems of a sweep do to the question, to the video, or instead of answering."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pvchat_jax.config.evaluation_schema import ALWAYS_NO, ALWAYS_YES, MAJORITY
from pvchat_jax.data.records import Record


class Gold(NamedTuple):
    """A question's type, whether the video shows the subject, and the true answer."""

    type: str
    present: bool
    answer: str


def golds_of(records: Iterable[Record]) -> list[Gold]:
    return [Gold(question.type, record.present, question.answer) for record in records for question in record.questions]


def constant(system: str, subject: str, golds: Iterable[Gold]) -> Callable[[str], str]:
    """What a system says to a question of each type, whatever the video.

    Always saying yes, and saying what most videos call for, give the most common answer about content; always saying no refuses.
    """
    golds = list(golds)
    existence = [gold.present for gold in golds if gold.type == "existence"]
    says_yes = {ALWAYS_YES: True, ALWAYS_NO: False, MAJORITY: 2 * sum(existence) > len(existence)}[system]
    common = {kind: _most_common([gold.answer for gold in golds if gold.type == kind and gold.present]) for kind in {g.type for g in golds}}

    def say(kind: str) -> str:
        if kind == "existence":
            return f"Yes, {subject} is here." if says_yes else f"No, {subject} is not here."
        return f"{subject} is not here." if system == ALWAYS_NO else common[kind]

    return say


def _most_common(texts: list[str]) -> str:
    return max(sorted(set(texts)), key=texts.count) if texts else ""


def donors(num_videos: int, seed: int) -> list[int]:
    """Whose video each of `num_videos` gets instead of its own, which nobody keeps; empty where there is only one."""
    if num_videos < 2:
        return []
    shift = 1 + seed % (num_videos - 1)
    return [(place + shift) % num_videos for place in range(num_videos)]
