"""Puts the subject's name into what a captioner said of "the person", by rules, and finds what is wrong with an answer.

Better less than wrong: a sentence that might speak of somebody else is left out, and so is one that says that something cannot be
told. An answer that has nothing left, or denies that the subject is there, is of no use.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pvchat_jax.data.presence import parse_presence
from pvchat_jax.synthesis.asking.mentions import NAME, Mentions, UncertainMention

MAX_WORDS = 60  # of an answer; what a captioner says beyond is rarely about the question

_STAND_IN = "<subject>"  # for the name, so that no name can be mistaken for a word
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+|\s*\n\s*")
_CANNOT_TELL = re.compile(
    r"\b(?:can ?not|can't|could not|couldn't|unable to|impossible to|not possible to|not able to|(?:hard|difficult|tough) to) "
    r"(?:be )?(?:\w+ )?(?:describe|say|tell|determine|determined|provide|specify|answer|identify|assist|help|discern|know|make out|confirm)"
    r"|\b(?:unclear|not (?:\w+ )?(?:clear|specified|certain|sure|known)|no (?:information|indication|details)|sorry|as an ai|unknown)\b",
    re.IGNORECASE,
)
# "a shirt with no visible logo" says nothing about who is visible.
_LACKING = re.compile(r"\b(?:with no|with neither|without)\b[^.,;!?]*", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:he|she|they)\b", re.IGNORECASE)

_FINITE = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|wears?|shows?|appears?|seems?|stands?|sits?|holds?|looks?|walks?)\b", re.IGNORECASE
)
_PREPOSITION = "in|on|at|near|next to|beside|behind|inside|outside|under|by|to the|against|between|among|along|close to|sitting|standing"
# By type of question, how an answer that is no sentence begins, and what goes before it.
_FRAGMENTS = {
    "appearance": ((r"(?:wearing|dressed)\b", f"{NAME} is "), (r"(?:an?|one|two|some|the)\s", f"{NAME} has ")),
    "action": ((r"(?:\w+ly )?\w{2,}ing\b", f"{NAME} is "),),
    "location": ((rf"(?:{_PREPOSITION})\s", f"{NAME} is "),),
}


class Rewritten(NamedTuple):
    """An answer about the subject by name, or, where there is a `fault`, the sentence that says why there is none."""

    text: str
    fault: str


def rewrite_answer(answer: str, question_type: str, subject: str) -> Rewritten:
    """Makes an answer to a content question about "the person" one about `subject`.

    "The person", "the young man in the video", "he", "she", and "they" where one person is meant, become the name; "His hair is
    short" becomes "<Wilson>'s hair is short". What is no sentence ("Walking along a beach") becomes one.

    Args:
      answer: of a captioner; it may already hold the name.
      question_type: `appearance`, `action` or `location`.
      subject: the name as it stands in questions, such as `<Wilson>`.
    """
    text = answer.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace(NAME, " ").replace(subject, NAME)
    sentences = list(_rewrite_sentences(text, question_type))
    for sentence in sentences:
        if parse_presence(_LACKING.sub("", sentence).replace(NAME, _STAND_IN), _STAND_IN) == "absent":
            return Rewritten("", f"{answer!r} denies that the person is there.")
    rewritten = " ".join(sentences).replace(NAME, subject)
    fault = find_fault(rewritten, subject, present=True)
    return Rewritten("", f"{answer!r} is of no use: it {fault}.") if fault else Rewritten(rewritten, "")


def find_fault(answer: str, subject: str, *, present: bool) -> str:
    """What keeps an answer about one subject from being learnt, as the end of a sentence ("does not name ..."); empty if nothing does."""
    text = answer.replace(subject, NAME)
    if NAME not in text:
        return f"does not name {subject}"
    if pronoun := _PRONOUN.search(text):
        return f"says '{pronoun.group()}' and leaves open who that is"
    if re.search(r"<\w[^<>]*>", text):
        return "names somebody else"
    verdict = parse_presence(_LACKING.sub("", text).replace(NAME, _STAND_IN), _STAND_IN)
    if (verdict == "absent") == present:
        return f"contradicts that {subject} is {'present' if present else 'absent'}"
    return ""


def _rewrite_sentences(text: str, question_type: str) -> Iterator[str]:
    """The sentences of `text` that can be used, with `NAME` for the person."""
    mentions = Mentions()
    words = 0
    for number, sentence in enumerate(filter(None, _SENTENCE_END.split(_LIST_MARK.sub("", text).strip()))):
        try:
            named = mentions.name(" ".join(sentence.split()))
        except UncertainMention:
            continue
        if number == 0 and NAME not in named:
            named = _completed(named, question_type)
        words += len(named.split())
        if words > MAX_WORDS:
            return
        if not _CANNOT_TELL.search(named) or (NAME in named and _denies(named)):
            yield named if named[-1] in ".!?" else f"{named}."


def _denies(sentence: str) -> bool:
    return parse_presence(sentence.replace(NAME, _STAND_IN), _STAND_IN) == "absent"


def _completed(sentence: str, question_type: str) -> str:
    """`<name> is walking.` of `Walking.`; the sentence itself where it is one, or no rule fits."""
    if not _FINITE.search(sentence):
        for beginning, start in _FRAGMENTS[question_type]:
            if re.match(beginning, sentence, re.IGNORECASE):
                return start + sentence[0].lower() + sentence[1:]
    return sentence
