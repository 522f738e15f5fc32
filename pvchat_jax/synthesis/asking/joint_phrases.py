"""Questions that name several subjects at once, and true answers for whichever of them are there.

An answer is put together from who is there and who is not, so every combination has its sentences: all, none, and any of the others.
"""

from collections.abc import Sequence
from typing import NamedTuple


class JointQuestion(NamedTuple):
    """A question about several subjects, and its answers.

    `{all}` stands for all names joined by "and", `{any}` by "or"; `{here}` and `{gone}` for those that are there and those that are
    not, joined by "and", `{neither}` for the latter as "A nor B". `{is_here}`, `{is_gone}`, `{does_gone}` agree in number.
    """

    question: str
    everybody: tuple[str, ...]
    nobody: tuple[str, ...]
    some: tuple[str, ...]


JOINT_QUESTIONS = (
    JointQuestion(
        "Are {all} in this video?",
        ("Yes, {all} are in this video.", "Yes, this video shows {all}."),
        ("No, neither {neither} is in this video.", "No, {all} are absent."),
        ("Only {here} {is_here} in this video, {gone} {is_gone} not.", "{here} {is_here} in it, but {gone} {is_gone} not."),
    ),
    JointQuestion(
        "Which of {all} can you see?",
        ("I can see {all}.", "{all} can be seen."),
        ("I can see neither {neither}.", "I cannot see {any}."),
        ("I can see {here}, but not {gone}.", "{here} can be seen; {gone} cannot be seen."),
    ),
    JointQuestion(
        "Do you see {any} here?",
        ("Yes, I see {all}.", "Yes, {all} are here."),
        ("No, I see neither {neither}.", "No, neither {neither} is here."),
        ("I see {here}. I do not see {gone}.", "{here} {is_here} here, but {gone} {is_gone} not here."),
    ),
    JointQuestion(
        "Who of {all} appears in this clip?",
        ("{all} appear in this clip.", "It shows {all}."),
        ("Neither {neither} appears in this clip.", "{all} do not appear in it."),
        ("{here} {is_here} in this clip, while {gone} {does_gone} not appear.", "It shows {here}, but it does not show {gone}."),
    ),
    JointQuestion(
        "Tell me who is there: {any}?",
        ("{all} are there.", "There I see {all}."),
        ("Neither {neither} is there.", "There is no sign of {any}."),
        ("{here} {is_here} there, and {gone} {is_gone} not there.", "I see {here}, but there is no sign of {gone}."),
    ),
    JointQuestion(
        "Is anybody of {all} on screen?",
        ("Yes, {all} are on screen.", "Yes, I see {all} on screen."),
        ("No, neither {neither} is on screen.", "No, {all} are not on screen."),
        ("{here} {is_here} on screen; {gone} {is_gone} absent.", "I spot {here} on screen, but {gone} {is_gone} missing."),
    ),
)


def joint_question(phrases: JointQuestion, names: Sequence[str]) -> str:
    """The question about `names`, at least two."""
    return phrases.question.format(all=_join(names, "and"), any=_join(names, "or"))


def joint_answers(phrases: JointQuestion, names: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """All wordings of the true answer, where `present` of `names` are in the video."""
    here = [name for name in names if name in present]
    gone = [name for name in names if name not in present]
    patterns = phrases.some if here and gone else phrases.everybody if here else phrases.nobody
    words = {
        "all": _join(names, "and"),
        "any": _join(names, "or"),
        "here": _join(here, "and"),
        "gone": _join(gone, "and"),
        "neither": " nor ".join(gone),
        "is_here": "is" if len(here) == 1 else "are",
        "is_gone": "is" if len(gone) == 1 else "are",
        "does_gone": "does" if len(gone) == 1 else "do",
    }
    return tuple(pattern.format(**words) for pattern in patterns)


def _join(names: Sequence[str], conjunction: str) -> str:
    """Such as `A, B and C`."""
    return f" {conjunction} ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)
