"""Reads from the wording of a gold answer whether it denies that the subject is in the video.

This is for answers that people or templates wrote. They are whole sentences without a fixed "yes" or "no" in front
and may speak of several people at once ("<A> appears, but there is no sign of <B>").
Answers that a model generated are read by `presence`, which also has to say "unknown".
"""

import re

_YES_OR_NO = re.compile(r"[\s\"']*(yes|no)\b[,.:;!]?(?! doubt| question)")
_EMPHASIS = re.compile(r"\b(?:no doubt|without (?:a |any )?doubt|no question|not only|nobody else|no one else)\b")
_DENIAL = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|cannot|unable|without|zero|absent|absence|missing|unseen|devoid"
    r"|(?:someone|somebody) else|another person|a different person|only other"
    r"|lacks?|lacking|excludes?|excluding|exclusion|fails? to|failed to|free of|rule out|everything but|impossible)\b|n't\b"
)
_CLAUSE_BREAK = re.compile(r"(?<!everything )\bbut\b|\b(?:al)?though\b|\bwhile\b|\bwhereas\b|\bhowever\b|, with\b|;")


def denies_presence(answer: str, subject: str) -> bool:
    """True where `answer` says that `subject` is not there, or refuses to describe it.

    A leading "Yes" or "No" decides; otherwise the clauses that name the subject do (all clauses if none does).
    """
    name = "\0"  # the name is masked, or a subject called "<No>" would deny itself
    text = answer.replace(subject, name).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()
    leading = _YES_OR_NO.match(text)
    if leading:
        return leading[1] == "no"
    text = _EMPHASIS.sub(" ", text)
    if f"only {name}" in text:  # the denial that follows is about the others
        return False
    clauses = _CLAUSE_BREAK.split(text)
    return any(_DENIAL.search(clause) for clause in [clause for clause in clauses if name in clause] or clauses)
