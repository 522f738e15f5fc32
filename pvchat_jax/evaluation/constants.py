"""Systems that look at no video and give the same verdict always: what any model has to beat."""

import dataclasses
from collections.abc import Sequence

from pvchat_jax.evaluation.answer_record import Answer

ALWAYS_YES, ALWAYS_NO, MAJORITY = "always_yes", "always_no", "majority"
CONSTANTS = (ALWAYS_YES, ALWAYS_NO, MAJORITY)


def constant_answers(answers: Sequence[Answer], system: str) -> list[Answer]:
    """What a constant system would answer to the questions of `answers`.

    Always saying yes gives the most common answer about content, always saying no refuses. The majority says what is true of most of
    the existence questions, and gives the most common answer about content. All of them rank nothing: their log-odds are 0.
    """
    common = {kind: _most_common([a.gold for a in answers if a.type == kind and a.present]) for kind in {a.type for a in answers}}
    verdicts = [answer.present for answer in answers if answer.type == "existence"]
    says_yes = system == ALWAYS_YES or (system == MAJORITY and 2 * sum(verdicts) > len(verdicts))

    def say(answer: Answer) -> str:
        if answer.type == "existence":
            return f"Yes, {answer.subject} is here." if says_yes else f"No, {answer.subject} is not here."
        return f"{answer.subject} is not here." if system == ALWAYS_NO else common[answer.type]

    return [dataclasses.replace(a, answer=say(a), log_odds=0.0 if a.type == "existence" else None) for a in answers]


def _most_common(texts: Sequence[str]) -> str:
    return max(sorted(set(texts)), key=texts.count) if texts else ""
