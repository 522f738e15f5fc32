"""Puts the questions of the four types to a clip, and sees that every answer fits the label.

Questions are drawn alike for clips that show the subject and clips that do not, so the choice of questions tells nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.joint_phrases import JOINT_QUESTIONS, joint_answers, joint_question
from pvchat_jax.synthesis.asking.phrases import CONTENT_TYPES, PHRASES, Phrases
from pvchat_jax.synthesis.asking.rewriting import Rewritten, rewrite_answer
from pvchat_jax.synthesis.captioners.captioner import Captioner, ClipView
from pvchat_jax.synthesis.records import Clip, SetAside

STAGE = "ask"  # in `SetAside.stage`
QUESTIONS: Mapping[str, int] = MappingProxyType({"existence": 15, "appearance": 5, "action": 5, "location": 5})  # as in the paper

Report = Callable[[SetAside], None]


def _ignore(aside: SetAside) -> None:
    """Nobody wants to know."""


def ask_clip(
    clip: Clip,
    subject: str,
    captioner: Captioner,
    view: ClipView,
    rng: np.random.Generator,
    *,
    phrases: Phrases = PHRASES,
    counts: Mapping[str, int] = QUESTIONS,
    report: Report = _ignore,
) -> tuple[Question, ...]:
    """Questions of the four types about `subject` with answers that fit the clip's role.

    Where the subject is absent, content questions are refused, and the captioner is not asked.

    Args:
      clip: its role tells whether the subject is there.
      subject: the name as it stands in questions, such as `<Wilson>`.
      view: what the captioner may look at.
      counts: how many questions by type. There are fewer content questions where the captioner's answers are of no use for one
        question of the type after the other.
      report: is told of each of those answers.

    Raises:
      UserError: `counts` asks for more questions than `phrases` has, or the captioner has no answer for this clip.
    """
    asked = _About(subject, phrases, _of_what_is_known(counts, clip.truth), rng)
    if clip.role == "positive":
        return (*asked.existence(present=True), *asked.content(captioner, view, lambda fault: report(_aside(clip, fault))))
    return (*asked.existence(present=False), *asked.refusals())


def ask_clip_about_several(
    clip: Clip,
    views: Mapping[str, ClipView | None],
    captioner: Captioner,
    rng: np.random.Generator,
    *,
    phrases: Phrases = PHRASES,
    counts: Mapping[str, int] = QUESTIONS,
    joint_count: int = 5,
    report: Report = _ignore,
) -> tuple[Question, ...]:
    """Questions about two or more subjects: about all of them at once, then about each as `ask_clip` does.

    Args:
      views: by name of each subject, a view in which that subject is "the person", such as frames cropped around them; None for
        those who are not in the clip. Any combination will do.
      joint_count: questions about all at once.

    Returns:
      Questions about everybody; those that hold a subject's name are the ones for that subject's record.

    Raises:
      UserError: as `ask_clip`.
    """
    if len(views) < 2:
        raise ValueError(f"{clip.name}: {len(views)} subjects are not several; use ask_clip")
    questions = list(_joint_questions(views, joint_count, rng))
    for subject, view in views.items():
        asked = _About(subject, phrases, _of_what_is_known(counts, view.truth if view else {}), rng)
        questions += asked.existence(present=view is not None)
        questions += asked.content(captioner, view, lambda fault: report(_aside(clip, fault))) if view else asked.refusals()
    return tuple(questions)


def _of_what_is_known(counts: Mapping[str, int], truth: Mapping[str, Any]) -> dict[str, int]:
    """Without the types of question that are known to have no answer, whoever is there."""
    return {name: 0 if truth.get(name, "") is None else count for name, count in counts.items()}


def _aside(clip: Clip, fault: str) -> SetAside:
    return SetAside(item=clip.name, stage=STAGE, reason=fault)


def _joint_questions(views: Mapping[str, ClipView | None], count: int, rng: np.random.Generator) -> Iterator[Question]:
    if count > len(JOINT_QUESTIONS):
        raise UserError(f"{count} questions about all subjects at once are wanted, but there are {len(JOINT_QUESTIONS)}; ask for fewer.")
    for number in rng.permutation(len(JOINT_QUESTIONS))[:count]:
        names = [list(views)[index] for index in rng.permutation(len(views))]  # so that the order of names tells nothing
        answers = joint_answers(JOINT_QUESTIONS[number], names, [name for name in names if views[name] is not None])
        yield Question(
            question=joint_question(JOINT_QUESTIONS[number], names), answer=answers[rng.integers(len(answers))], type="existence"
        )


class _About:
    """Questions about one subject. All draws are made at once, so that they do not depend on the answers."""

    def __init__(self, subject: str, phrases: Phrases, counts: Mapping[str, int], rng: np.random.Generator) -> None:
        sizes = {"existence": len(phrases.existence), **{name: len(phrases.content[name]) for name in CONTENT_TYPES}}
        for name, size in sizes.items():
            if counts[name] > size:
                raise UserError(f"{counts[name]} questions of type '{name}' are wanted, but there are {size}; ask for fewer.")
        self._subject, self._phrases, self._counts = subject, phrases, counts
        self._order = {name: rng.permutation(size) for name, size in sizes.items()}
        self._refusals = {name: rng.integers(len(phrases.refusals[name]), size=counts[name]) for name in CONTENT_TYPES}

    def existence(self, *, present: bool) -> Iterator[Question]:
        """Whether the subject is there."""
        for number in self._order["existence"][: self._counts["existence"]]:
            phrase = self._phrases.existence[number]
            yield self._question(phrase.question, phrase.yes if present else phrase.no, "existence")

    def refusals(self) -> Iterator[Question]:
        """Content questions about an absent subject."""
        for name in CONTENT_TYPES:
            for number, refusal in zip(self._order[name], self._refusals[name], strict=False):
                yield self._question(self._phrases.content[name][number], self._phrases.refusals[name][refusal], name)

    def content(self, captioner: Captioner, view: ClipView, report: Callable[[str], None]) -> Iterator[Question]:
        """Content questions about a subject who is there, answered by the captioner.

        For an answer of no use, the next question of its type is asked.
        """
        open_questions = {name: [self._phrases.content[name][number] for number in self._order[name]] for name in CONTENT_TYPES}
        missing = {name: self._counts[name] for name in CONTENT_TYPES}
        while batch := [(text, name) for name in CONTENT_TYPES for text in _take(open_questions[name], missing[name])]:
            for (text, name), answer in zip(batch, captioner.answer(view, [_about_the_person(*asked) for asked in batch]), strict=True):
                text_by_name, fault = self._named(answer, name)
                if fault:
                    report(f"{text.format(name=self._subject)} {fault}")
                else:
                    missing[name] -= 1
                    yield self._question(text, text_by_name, name)

    def _named(self, answer: str, question_type: str) -> Rewritten:
        if not self._phrases.answers_are_short:
            return rewrite_answer(answer, question_type, self._subject)
        return Rewritten(answer, "")

    def _question(self, question: str, answer: str, question_type: str) -> Question:
        return Question(question=question.format(name=self._subject), answer=answer.replace("{name}", self._subject), type=question_type)


def _take(texts: list[str], count: int) -> list[str]:
    """Removes the first `count` of `texts` and returns them."""
    taken = texts[:count]
    del texts[:count]
    return taken


def _about_the_person(text: str, question_type: str) -> Question:
    """The question as captioners get it, without the name."""
    words = text.format(name="the person")
    return Question(question=words[0].upper() + words[1:], answer="", type=question_type)
