"""Answers from what is exactly known of a clip, where its person comes from the made-up world."""

from collections.abc import Sequence
from typing import Any

from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.phrases import CONTENT_TYPES, Existence, Phrases
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.world.people import Outfit
from pvchat_jax.world.questions import (
    ACTION_ANSWERS,
    TRAIN_PHRASINGS,
    appearance_answer,
    location_answer,
    no_answer,
    refusal,
    yes_answer,
)

# The questions and answers that the tiny base model knows the words of.
CAST_PHRASES = Phrases(
    existence=tuple(Existence(question, yes_answer("{name}"), no_answer("{name}")) for question in TRAIN_PHRASINGS["existence"]),
    content={name: TRAIN_PHRASINGS[name] for name in CONTENT_TYPES},
    refusals={name: (refusal("{name}"),) for name in CONTENT_TYPES},
    answers_are_short=True,
)


class TruthCaptioner:
    """A backend (`captioner.Captioner`) that reads `scene`, `outfit`, `action` and `position` of `ClipView.truth`.

    They are as in `world.plan.VideoPlan.truth`; its answers are those of the world, such as `Waving.`
    """

    leaves_machine = False

    def __init__(self, name: str = "truth of the cast") -> None:
        self.name = name

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """See `captioner.Captioner`."""
        return [_answer(view.truth, question.type) for question in questions]


def _answer(truth: Any, question_type: str) -> str:
    try:
        if question_type == "appearance":
            return appearance_answer(Outfit(**truth["outfit"]))
        if question_type == "action":
            return ACTION_ANSWERS[truth["action"]]
        return location_answer(truth["scene"], truth["action"], truth["position"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the truth of a clip tells nothing of the person's {question_type} ({error!r}); only clips of the cast can be asked about so."
        ) from error
