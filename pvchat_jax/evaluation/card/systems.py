"""A system is what one row of the card's tables is about: a model, or what it is held against, with all of its answers."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from pvchat_jax.config.evaluation_schema import CONSTANTS
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.constants import constant_answers

MODEL_SYSTEM = "personalized"
# What sees no video of the question, and what sees it but does not know the person or was asked about another one.
BLIND = (*CONSTANTS, "question_only", "blind")
IMPERSONAL = ("base", "wrong_person", "name_swapped")

# Which question an answer is to: subject, end of the video's path, question, and how often it was asked before.
Key = tuple[str, str, str, int]
_PATH_PARTS = 3  # that name a video: runs on another machine have other folders above


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """All answers of one system.

    Attributes:
      name: as tables show it; no two are alike.
      short: what it is, such as `question_only`, beside whichever model; empty for a model.
      kind: `model`, or what the model is held against: `blind`, or `impersonal`.
      beside: the name of the model that it is held against; empty for a model.
      facts: what it was, such as its run, for the page.
      set_aside: videos that could not be read.
      runs: directories of the runs behind it.
    """

    name: str
    kind: Literal["model", "blind", "impersonal"]
    answers: tuple[Answer, ...]
    short: str = ""
    beside: str = ""
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    set_aside: tuple[SetAside, ...] = ()
    runs: tuple[str, ...] = ()


def keys_of(answers: Sequence[Answer]) -> list[Key]:
    """The key of every answer; no two are alike."""
    times: dict[tuple[str, str, str], int] = {}
    keys = []
    for answer in answers:
        video = "/".join(PurePosixPath(answer.video.replace("\\", "/")).parts[-_PATH_PARTS:])
        question = (answer.subject, video, answer.question)
        times[question] = times.get(question, -1) + 1
        keys.append((*question, times[question]))
    return keys


def matched(first: System, second: System) -> tuple[list[Answer], list[Answer]]:
    """Answers of two systems to the questions that both were asked, in the same order."""
    others = dict(zip(keys_of(second.answers), second.answers, strict=True))
    pairs = [(answer, others[key]) for key, answer in zip(keys_of(first.answers), first.answers, strict=True) if key in others]
    return [one for one, _ in pairs], [two for _, two in pairs]


def with_constants(model: System, beside: Sequence[System] = ()) -> list[System]:
    """A model, what it is held against, and the constant systems where that lacks them."""
    known = {system.short for system in beside}
    constants = [
        System(
            name=f"{short} ({model.name})",
            kind="blind",
            answers=tuple(constant_answers(model.answers, short)),
            short=short,
            beside=model.name,
        )
        for short in CONSTANTS
        if short not in known
    ]
    return [model, *beside, *constants]


def without_repetitions(systems: Sequence[System]) -> list[System]:
    """Without a system held against several models that says the same each time, under the shortest names that tell the rest apart."""
    seen: set[int] = set()
    kept = []
    for system in systems:
        identity = hash((system.short, system.answers))
        if system.kind == "model" or identity not in seen:
            kept.append(system)
        if system.kind != "model":
            seen.add(identity)
    shorts = [system.short for system in kept]
    alone = {short for short in shorts if short and shorts.count(short) == 1}
    return [dataclasses.replace(system, name=system.short) if system.short in alone else system for system in kept]
