"""Compares a generated answer with its gold answer: presence, content words, refusals."""

import re
import unicodedata

from pvchat_jax.data.presence import parse_presence

# Words that carry no fact. Prepositions of place stay in: "left of the table" is not "on the table".
_FUNCTION_WORDS = frozenset(
    "a an the is are was were be been being am do does did has have had can could will would and or as it its he she they them him "
    "her his their i you we my your our this that these those there here of to in at".split()
)
_CANNOT_ANSWER = re.compile(
    r"\b(?:can ?not|can'?t|could not|couldn'?t|unable to|impossible to|not able to|no way to) (?:\w+ ){0,2}?"
    r"(?:describe|say|tell|determine|provide|specify|answer|detail|comment|report|indicate|identify|see|observe|know|offer|give)\b"
)


def normalise(text: str) -> str:
    """Lower case, Unicode-compatible, without articles, punctuation or repeated spaces."""
    text = unicodedata.normalize("NFKC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", re.sub(r"(?<=[\w>])'s\b", "", text))
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def content_words(text: str, subject: str) -> frozenset[str]:
    """Words of `text` that carry a fact: not the subject's name, not function words."""
    return frozenset(normalise(text).split()) - frozenset(normalise(subject).split()) - _FUNCTION_WORDS


def is_exact_match(answer: str, gold: str) -> bool:
    """Whether both texts are equal after `normalise`."""
    return normalise(answer) == normalise(gold)


def slot_recall(answer: str, gold: str, subject: str) -> float:
    """Share of the gold answer's content words that the answer contains, in [0, 1]; 1 if the gold has none."""
    wanted = content_words(gold, subject)
    return len(wanted & content_words(answer, subject)) / len(wanted) if wanted else 1.0


def is_slot_match(answer: str, gold: str, subject: str) -> bool:
    """Whether the answer contains every content word of the gold answer and does not deny the subject's presence.

    Extra words are not punished: read it beside the exact match, which an answer listing every colour fails.
    """
    if is_exact_match(answer, gold):
        return True
    return slot_recall(answer, gold, subject) == 1.0 and not is_refusal(answer, subject)


def is_refusal(answer: str, subject: str) -> bool:
    """Whether the answer declines a question about content: it says that the subject is absent or that it cannot tell."""
    return parse_presence(answer, subject) == "absent" or bool(
        _CANNOT_ANSWER.search(answer.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    )
