"""What one answer says and whether it is right."""

import functools

from pvchat_jax.data.presence import Presence, parse_presence
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.answers import is_refusal, is_slot_match

# Many answers are alike, and every score asks about each of them.
_parse = functools.lru_cache(maxsize=65536)(parse_presence)


def said(answer: Answer) -> Presence:
    """Whether the answer says that the subject is in the video."""
    return _parse(answer.answer, answer.subject)


def is_right(answer: Answer) -> bool:
    """Whether one answer counts as right: the verdict on existence, the content words where the subject is shown, a refusal where not."""
    if answer.type == "existence":
        return said(answer) == ("present" if answer.present else "absent")
    if answer.present:
        return is_slot_match(answer.answer, answer.gold, answer.subject)
    return is_refusal(answer.answer, answer.subject)
