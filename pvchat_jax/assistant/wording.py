"""What a question asks, put to one person at a time, and the sentences for what is decided without describing anybody."""

import re
from collections.abc import Mapping, Sequence

from pvchat_jax.registry.names import bare
from pvchat_jax.synthesis.joint_phrases import JOINT_QUESTIONS, joint_answers
from pvchat_jax.synthesis.phrases import PHRASES

# A question made of these words and a name alone asks whether the person is there; any other word asks for something else.
_PRESENCE_WORDS = frozenset(
    "a all an and any anybody anyone anywhere appear appearing appears are at be been being by can camera catch catches caught check clip "
    "clips contain contains could contained detect did discover do does ever feature features featured film filmed filming find for "
    "footage found frame frames front get glimpse has have here i identify if image images in include includes included is it know let "
    "locate looking make me moment moments notice noticed of on or our part person picture pictures picked please point present record "
    "recorded recording recordings recognise recognised recognize say scene scenes screen see seen sequence shot show showing shown shows "
    "sighted sight sign someone somebody somewhere spot spotted tell that the them there these this those time to trace true up us video "
    "videos view visible was we were whether will with within would yes you your no not".split()
)
# "Who is it, is it Ada?" and "Is it Ada who appears?", but not "Who is Ada?"
_WHO = re.compile(r"^\W*who is it, is it\b|(?<=\S )who (?=appears|is|was|can)", re.IGNORECASE)
_NAME = "\ue000"  # a private-use character stands for the person, so that no name is mistaken for a word
_PRONOUN = r"\b(?:he|she|they|him|them)\b"
_AGREEMENT = {"are": "is", "were": "was", "do": "does", "have": "has"}
_YES, _NO = "Yes, {name} is in this video.", "No, {name} is not in this video."


def about(question: str, name: str, names: Sequence[str]) -> str:
    """`question` about `name` alone, which stands in it as training wrote it.

    A list of the `names` becomes the one, a pronoun the name where no name occurs, and names are recognised however they are
    spelt. The others stay as words without brackets.
    """
    text = question.strip()
    text = re.sub(rf"(?:both )?(?:{_any_of(names)})(?:(?:,? (?:and|or|nor) |, )(?:{_any_of(names)}))+", _NAME, text, flags=re.IGNORECASE)
    text = re.sub(_any_of([name]), _NAME, text, flags=re.IGNORECASE)
    if _NAME not in text:
        text = re.sub(_PRONOUN, _NAME, text, flags=re.IGNORECASE)
    text = re.sub(rf"\b({'|'.join(_AGREEMENT)})(?= {_NAME})", _agree, text, flags=re.IGNORECASE)
    text = re.sub(
        rf"{_NAME} ({'|'.join(_AGREEMENT)})\b", lambda found: f"{_NAME} {_AGREEMENT[found[1].lower()]}", text, flags=re.IGNORECASE
    )
    for other in names:
        text = text.replace(other, bare(other))
    return text.replace(_NAME, name)


def complete(question: str, earlier: Sequence[str], names: Sequence[str]) -> str:
    """A question such as "And Ada?" with the words of the last of the `earlier` ones that it leaves out; any other as it is."""
    people = _any_of(names)
    if not earlier or not re.fullmatch(rf"\W*(?:and|what about|how about)(?:\W+(?:{people}|and|{_PRONOUN}))+\W*", question, re.IGNORECASE):
        return question
    last = complete(earlier[-1], earlier[:-1], names)
    return re.sub(rf"(?:{people})(?:(?:,? (?:and|or|nor) |, )(?:{people}))*", "they", last, flags=re.IGNORECASE)


def asks_presence(question: str, name: str) -> bool:
    """Whether a question that `about` made asks if the person is there, and nothing else; "Who is here?" does too."""
    text = _WHO.sub("", question) if name in question else re.sub(r"^\W*who\b", "", question, flags=re.IGNORECASE)
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.replace(name, f" {_NAME} ").replace("'s", "").lower())
    return (name in question or text != question) and all(word in _PRESENCE_WORDS for word in words)


def decided(question: str, name: str, verdict: str) -> str | None:
    """The answer where nobody has to be described; None where the model has to answer: somebody is there and more is asked."""
    if verdict == "unsure":
        return f"I am not sure whether {name} is in this video."
    if asks_presence(question, name):
        return _existence(question, name, verdict)
    return None if verdict == "present" else f"{name} is not in this video, so there is nothing to tell."


def together(verdicts: Mapping[str, str]) -> str:
    """The answer to whether several people are there, by name."""
    known = [name for name, verdict in verdicts.items() if verdict != "unsure"]
    unsure = [name for name, verdict in verdicts.items() if verdict == "unsure"]
    sentences = []
    if len(known) == 1:
        sentences.append((_YES if verdicts[known[0]] == "present" else _NO).format(name=known[0]))
    elif known:
        sentences.append(joint_answers(JOINT_QUESTIONS[0], known, [name for name in known if verdicts[name] == "present"])[0])
    sentences.extend(f"I am not sure whether {name} is in this video." for name in unsure)
    return " ".join(sentences)


def _existence(question: str, name: str, verdict: str) -> str:
    """In the form of the question where that is a known one."""
    known = next((phrase for phrase in PHRASES.existence if phrase.question.format(name=name).lower() == question.lower()), None)
    yes, no = (known.yes, known.no) if known else (_YES, _NO)
    return (yes if verdict == "present" else no).format(name=name)


def _agree(found: re.Match[str]) -> str:
    single = _AGREEMENT[found[1].lower()]
    return single.capitalize() if found[1][0].isupper() else single


def _any_of(names: Sequence[str]) -> str:
    """A pattern of all spellings of the names, the longest first."""
    words = [re.escape(bare(name)) for name in sorted(names, key=len, reverse=True)]
    return "|".join(rf"<{word}>|(?<![\w<]){word}(?![\w>])" for word in words)
