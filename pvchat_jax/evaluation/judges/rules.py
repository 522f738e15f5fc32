"""A judge of fixed rules: free, repeatable, and blind to wording that it does not know."""

import re

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.answers import content_words, is_refusal, normalise
from pvchat_jax.evaluation.judges.rubric import ENTITY_SPECIFICITY, Rubric
from pvchat_jax.evaluation.metrics.verdicts import said
from pvchat_jax.world.slots import SLOTS, read_slots

_GENERIC = re.compile(
    r"\b(?:an?|the|this|that|some) (?:\w+ )?(?:man|woman|person|individual|boy|girl|figure|guy|lady|subject|somebody)\b", re.IGNORECASE
)
_NOBODY_NAMED = re.compile(r"\b(?:someone|somebody|anyone|people|a video|the video|the clip)\b", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:he|she|him|her|his|hers|they|them|their)\b", re.IGNORECASE)
_LEVELS = ((1.0, 5), (0.65, 4), (0.4, 3), (0.2, 2))  # least share of facts, rating


class RuleJudge:
    """A `rubric.Judge`."""

    name = "rules, version 1"
    parallel = 1

    def rate(self, rubric: Rubric, answer: Answer) -> int | None:
        """See `rubric.Judge`."""
        return _specificity(answer) if rubric == ENTITY_SPECIFICITY else _completeness(answer)


def _specificity(answer: Answer) -> int:
    if _contradicts_presence(answer):
        return 0
    text = answer.answer
    names = set(re.findall(r"<[^<>\n]+>", text))
    bare = answer.subject.strip("<>")
    is_named = answer.subject in names or re.search(rf"(?<![\w<]){re.escape(bare)}(?![\w>])", text) is not None
    if is_named:
        return 4 if _GENERIC.search(text) else 5
    if names:
        return 0
    if _GENERIC.search(text):
        return 2
    if _NOBODY_NAMED.search(text) or not text.strip():
        return 1
    facts = content_words(answer.gold, answer.subject)
    return 3 if _PRONOUN.search(text) or facts & content_words(text, answer.subject) else 1


def _contradicts_presence(answer: Answer) -> bool:
    if answer.type == "existence":
        return said(answer) == ("absent" if answer.present else "present")
    return is_refusal(answer.answer, answer.subject) == answer.present


def _completeness(answer: Answer) -> int:
    if is_refusal(answer.answer, answer.subject):
        return 0
    right, wrong, total = _facts(answer)
    if not right:
        return 0
    rating = next((rating for least, rating in _LEVELS if right / total >= least), 1)
    return max(1, rating - wrong)


def _facts(answer: Answer) -> tuple[int, int, int]:
    """Facts of the gold answer that the answer gives, those that it contradicts, and all of them.

    The drawn world's answers have slots, such as the colour of the clothes; of other gold answers each content word is a fact, and
    a contradiction cannot be told.
    """
    true = read_slots(answer.type, answer.gold) if answer.type in SLOTS else {}
    if true and None not in true.values():
        told = read_slots(answer.type, answer.answer)
        given = _stems(answer)
        right = [name for name, value in true.items() if told[name] == value or {*map(_stem, normalise(value).split())} <= given]
        # That somebody wears no hat is what an answer without a hat says by the way.
        stated = {name: value for name, value in told.items() if value not in (None, "none")}
        if true.get("hat") == "none" and right == ["hat"]:
            right = []
        return len(right), sum(name not in right for name in stated), len(true)
    wanted = {_stem(word) for word in content_words(answer.gold, answer.subject)}
    return len(wanted & _stems(answer)), 0, max(1, len(wanted))


def _stems(answer: Answer) -> set[str]:
    return {_stem(word) for word in normalise(answer.answer).split()}


def _stem(word: str) -> str:
    """`waving`, `waves` and `waved` are one word to a judge."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word.removesuffix("e")
