"""Reads from a sentence whether it says that the subject is in the video.

Gold answers are whole sentences that need not begin with yes or no ("<Wilson> is visible.", "The video
lacks any trace of <Wilson>."), so the parser looks at what each clause about the subject asserts or
denies. It is rule-based and deterministic: an answer that it cannot read is `unknown`, never a guess.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Presence = Literal["present", "absent", "unknown"]

# Private-use characters stand for names, so no name can be mistaken for a word of the sentence.
_SUBJECT = "\ue000"
_OTHER = "\ue001"
_NAME = f"[{_SUBJECT}{_OTHER}]"
_MARK = rf"[^\w\s{_SUBJECT}{_OTHER}]"  # punctuation

_YES_LEAD = re.compile(
    r"^\W*(yes|yeah|yep|yup|correct|affirmative|(certainly|definitely|absolutely|indeed|sure|of course)(?! not\b))\b(?! and no\b)"
)
_NO_LEAD = re.compile(
    rf"^\W*((no|nope|nah|negative)(?=\s*({_MARK}|$)|\s+(i|it|there|he|she|they)\b)|(certainly|definitely|absolutely|of course) not\b)"
)

_CONTRACTIONS = (
    (re.compile(r"\b(ca|wo|sha)n'?t\b"), r"can not"),
    (re.compile(r"\bcannot\b"), "can not"),
    (re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|might|must|need)n'?t\b"), r"\1 not"),
    (re.compile(r"\bain'?t\b"), "is not"),
    (re.compile(r"\bno[- ]one\b"), "nobody"),
    (re.compile(rf"({_NAME})'?s\b"), r"\1"),
    (re.compile(r"'(s|ve|re|m|ll|d)\b"), ""),
)
_EXCEPT = r"(?:but|except|besides|bar|apart from|aside from|other than|than)(?: for)?"
# Fixed phrases whose words would mislead the clause rules below; order matters.
_IDIOMS = (
    (re.compile(r"^\W*(?:so )?(?:the|my) (?:short )?answer is\b\W*"), ""),
    (re.compile(r"\bat no (?:time|moment|stage)\b|\bunder no circumstances\b"), "never"),
    (re.compile(r"\b(?:can|could|will|would) not (?:be )?den(?:y|ied)\b"), " "),
    (re.compile(r"\bnot (?:(?:a|one|any|single) )*(?:frame|moment|shot|scene|second) without\b"), " "),
    (re.compile(r"\bwithout (?:exception|difficulty|effort|fail|interruption)\b"), " "),
    (re.compile(r"\b(?:not|never) (?:leaves?|miss|hard|difficult)\b"), " "),
    (re.compile(rf"\b(?:other than|instead of|rather than|unlike) (?={_OTHER})"), "; not "),
    (re.compile(rf"\b(?:nobody|none|nothing|no other \w+)(?: else| other)? {_EXCEPT} (?={_NAME})"), " "),
    (re.compile(rf"\b(?:every|any)(?:one|body|thing|where)(?: else)? {_EXCEPT} (?={_NAME})"), " not "),
    (re.compile(rf"\b(?:other than|instead of|rather than|unlike|different(?: \w+)? (?:from|than|to)) (?={_NAME})"), " not "),
    (re.compile(r"\b(?:no|not a|without(?: an?y?)?|beyond(?: an?y?)?) (?:shadow of a )?(?:doubt|question|mistake)\b"), " "),
    (re.compile(r"\bnot (?:only|just|merely|alone|the only)\b"), " "),
    (re.compile(r"\bappear(s|ed|ing)? to\b"), "seem to"),
    (re.compile(r"\brul(?:e|es|ed|ing) out\b"), "excludes"),
    (re.compile(r"\bfree (?:of|from)\b"), "devoid of"),
)
_NAME_LIST = re.compile(rf"{_NAME}(?:\s*,\s*{_NAME})*\s*,?\s*(?:and|or|nor|&)\s*{_NAME}")
_APPOSITION = re.compile(rf",\s*({_NAME})\s*,")

_VERB = r"(?:is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|not|appears?|remains?)"
_BREAK = re.compile(
    r"(?P<stop>[.!?;:\n]+|\s[-\u2013\u2014]+\s|,)"
    r"|\b(?:but|though|although|while|whereas|however|because|therefore|thus|yet)\b"
    rf"|\b(?:as|since|so)\b(?=\s+(?:they|he|she|it|there|i|the|{_NAME}))"
    rf"|\band\b(?=\s+(?:{_NAME}\s+|\w+\s+)?{_VERB}\b)"
)

# Clauses that match one of these neither assert nor deny.
_HEDGES = (
    re.compile(r"\bnot (?:entirely |quite |completely )?(?:sure|certain|clear)\b"),
    re.compile(r"\b(?:unsure|uncertain|unclear|maybe|perhaps|possibly|presumably)\b"),
    re.compile(r"\b(?:(?:hard|difficult|impossible) to (?:say|tell|know)|not know|yes and no)\b"),
    re.compile(rf"\b(?:might|may|could) (?:not )?be {_SUBJECT}"),
    re.compile(rf"(?:^\w+ |^(?:this|that|the) \w+ |{_SUBJECT} )(?:might|may|could) (?:not )?(?:be|have|appear|show)\b"),
    re.compile(
        r"\b(?:not|unable to) (?:be able to )?(?:say|tell|know|determine|confirm|verify|establish|judge|decide)"
        r"(?: (?:with|for|if|whether)\b|\s*$)"
    ),
    re.compile(rf"\b(?:looks?|looking|similar) (?:like|to) {_SUBJECT}(?! (?:is|are|appear))"),
    re.compile(rf"^(?!.*\b(?:no|not|nothing|nobody)\b).*\bresembl\w+ {_SUBJECT}"),
    re.compile(rf"\b(?:if|whether)\b[^{_SUBJECT}]*{_SUBJECT}"),
    re.compile(rf"\b(?:look|search|check|scan|watch|wait)\w*(?: \w+){{0,4}} for {_SUBJECT}"),
)

_UNTRUE = re.compile(r"\b(?:(?:not|never) (?:true|the case|correct|right)|untrue|false|wrong)\b(?: to (?:say|claim|think))? that\b")
_OPPOSITE: dict[Presence, Presence] = {"present": "absent", "absent": "present", "unknown": "unknown"}

_NEGATORS = frozenset(
    "not no never neither nor without zero unable fail fails failed failing impossible lack lacks lacked lacking missing".split()
)
_NEGATIVE_SUBJECTS = frozenset("nobody none nothing".split())
_ABSENCE = re.compile(r"absen(?:t|ts|ce)|nowhere|devoid|exclud\w+|exclusion|unseen|invisible|undetected|lack\w*|missing|without|fail\w*")
_PRESENCE = re.compile(
    r"(?:appear|show|spot|detect|identif|recogni|locat|captur|depict|record|film|featur|includ|contain|exist|observ|notic|resembl|match|glimps"
    r"|discern|distinguish|sight|trace|sign|evidence|instance|indication|occurrence|suggest|element|frame|scene|sequence|segment|screen|camera"
    r"|video|clip|footage|image|picture|imagery|recording)\w*|presen(?:t|ce|ts|ted)|visible|see|sees|seen|find|finds|found|here|there|view|shots?"
    r"|parts?|moments?|points?|among|anywhere|any(?:one|body)|some(?:one|body)|person|people|individuals?|figures?|man|woman|boy|girl|men|women|one"
)
_SKIPPED = frozenset(
    "a an the this that these those any some single such of in on at to for from by with within as be been being is are was were am "
    "do does did has have had can could will would should i we you it he she they them him her his their my its me either both longer "
    "even ever yet still quite also all seem seems seemed think believe make makes made take takes out able least whatsoever more".split()
)
_PERSON = frozenset("he she they him her them person someone somebody anyone anybody nobody".split())
_DEFINITE_PERSON = re.compile(r"\b(?:he|she|they|him|her|them|(?:the|this|that) (?:person|man|woman|boy|girl|individual|subject))\b")


def parse_presence(answer: str, subject: str) -> Presence:
    """Whether `answer` says that `subject` is in the video.

    Args:
      answer: free text, usually one sentence.
      subject: the name as it stands in questions, such as `<Wilson>`; the bare `Wilson` is understood too.

    Returns:
      `present`, `absent`, or `unknown` for hedges, contradictions, and text about something else.
    """
    text = _canonical(answer, subject)
    verdicts = {"present"} if _YES_LEAD.match(text) else {"absent"} if _NO_LEAD.match(text) else set()
    clauses = _clauses(re.sub(rf"^\W*(?:yes|yeah|yep|yup|no|nope|nah)\s*(?={_MARK})", "", text))
    named = {_named_verdict(clause) for clause in clauses if _SUBJECT in clause}
    named.discard("unknown")
    if not named:
        named = {_unnamed_verdict(clause) for clause in clauses if not re.search(_NAME, clause)}
        named.discard("unknown")
    verdicts |= named
    return verdicts.pop() if len(verdicts) == 1 else "unknown"


def _canonical(answer: str, subject: str) -> str:
    """Lower case, no contractions or idioms, names replaced by their placeholders."""
    text = unicodedata.normalize("NFKC", answer).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(f"{_NAME}", " ", text)
    text = re.sub(re.escape(subject), _SUBJECT, text, flags=re.IGNORECASE)
    bare = subject.strip("<>")
    if bare and not _is_vocabulary(bare.lower()):
        # Not in lower case: <Red> is not in "a red coat".
        text = re.sub(rf"(?<![\w'])(?:{re.escape(bare)}|{re.escape(bare.upper())})(?!\w)", _SUBJECT, text)
    text = re.sub(r"<[^<>\n]*>", _OTHER, text).lower()
    for pattern, replacement in _CONTRACTIONS:
        text = pattern.sub(replacement, text)
    text = _NAME_LIST.sub(lambda names: _SUBJECT if _SUBJECT in names.group() else _OTHER, text)
    text = _APPOSITION.sub(r" \1 ", text)
    for pattern, replacement in _IDIOMS:
        text = pattern.sub(replacement, text)
    return re.sub(r"[ \t]+", " ", text).strip()


def _is_vocabulary(word: str) -> bool:
    """Whether a bare name would be read as one of the parser's own words ("No", "Will", "May")."""
    own = _NEGATORS | _NEGATIVE_SUBJECTS | _SKIPPED | _PERSON | {"yes", "may", "might"}
    return word in own or bool(_ABSENCE.fullmatch(word)) or bool(_PRESENCE.fullmatch(word))


def _clauses(text: str) -> list[str]:
    """Clauses that assert something; questions are left out. A name before a comma joins what follows
    it, and a fragment that begins with a verb joins what stands before it ("<Wilson>, the tall one, is absent")."""
    pieces: list[tuple[str, str]] = []
    start = 0
    for found in [*_BREAK.finditer(text), None]:
        piece = text[start : found.start() if found else len(text)].strip()
        mark = (found.group("stop") or "") if found else ""
        start = found.end() if found else start
        if pieces and pieces[-1][1] == "," and (re.match(rf"{_VERB}\b", piece) or re.fullmatch(_NAME, pieces[-1][0])):
            pieces[-1] = (f"{pieces[-1][0]} {piece}", mark)
        elif piece:
            pieces.append((piece, mark))
        elif pieces and pieces[-1][1] == ",":
            pieces[-1] = (pieces[-1][0], mark)  # ", but" joins nothing
    return [piece for piece, mark in pieces if "?" not in mark]


def _words(clause: str) -> list[str]:
    return re.findall(rf"{_NAME}|[^\W\d_]+", clause)


def _is_hedged(clause: str) -> bool:
    return any(hedge.search(clause) for hedge in _HEDGES)


def _named_verdict(clause: str) -> Presence:
    """What a clause that names the subject says about its presence."""
    if _UNTRUE.search(clause):
        return _OPPOSITE[_named_verdict(_UNTRUE.sub(" ", clause, count=1))]
    if _is_hedged(clause):
        return "unknown"
    denied, affirmed, other = _negations(_words(clause))
    if denied:
        return "absent"
    return "present" if affirmed or not other else "unknown"


def _unnamed_verdict(clause: str) -> Presence:
    """What a clause without any name says: pronouns ("he is not here"), "nobody", or bare words ("Not present.")."""
    if _is_hedged(clause):
        return "unknown"
    words = _words(clause)
    denied, affirmed, other = _negations(words)
    if denied:
        return "absent" if len(words) <= 3 or _PERSON.intersection(words) or _DEFINITE_PERSON.search(clause) else "unknown"
    if other:
        return "unknown"
    if len(words) <= 2:
        return "present" if affirmed or words[-1:] in (["present"], ["visible"], ["here"]) else "unknown"
    rest = _DEFINITE_PERSON.sub(" ", clause)
    return "present" if rest != clause and any(_PRESENCE.fullmatch(word) for word in _words(rest)) else "unknown"


def _negations(words: Sequence[str]) -> tuple[bool, bool, bool]:
    """Whether the words deny presence, affirm it by a double negation, or negate something else."""
    denied = affirmed = other = False
    answered: set[int] = set()
    for position, word in enumerate(words):
        if position in answered:
            continue
        if word in _NEGATIVE_SUBJECTS:
            denied, other = denied or _SUBJECT not in words[:position], other or _SUBJECT in words[:position]
        elif word in _NEGATORS:
            target = _target(words, position)
            kind = _kind(words, position, target)
            denied, affirmed, other = denied or kind == "presence", affirmed or kind == "absence", other or kind == "other"
            if kind == "absence":
                answered.add(target)
        elif _ABSENCE.fullmatch(word):
            denied = True
    return denied, affirmed, other


def _target(words: Sequence[str], position: int) -> int:
    """Index of the first word after the negator at `position` that carries meaning."""
    if position + 1 < len(words) and words[position + 1] == _SUBJECT:
        return position + 1
    for index in range(position + 1, len(words)):
        word = words[index]
        if word not in _SKIPPED and not re.fullmatch(_NAME, word) and not word.endswith("ly") and word not in ("nor", "no"):
            return index
    return len(words)


def _kind(words: Sequence[str], position: int, target: int) -> Literal["presence", "absence", "other"]:
    """What the negator at `position` negates: being there, not being there, or something else."""
    if target == len(words):
        # "he is not", "it lacks <Wilson>"; but "unable", said of no verb at all, denies nothing.
        return "other" if words[position] in ("unable", "impossible") else "presence"
    if words[target] == _SUBJECT or _PRESENCE.fullmatch(words[target]):
        return "presence"
    if _ABSENCE.fullmatch(words[target]):
        return "absence"
    return "other"
