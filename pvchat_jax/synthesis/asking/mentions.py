"""Finds where English sentences about one person mention that person, and puts a mark for the name there."""

import re

NAME = "\ue000"  # stands for the name: a private character, which no caption holds

_MALE, _FEMALE = "man|guy|gentleman|boy|male", "woman|lady|girl|female"
_ANYBODY = "person|individual|subject|figure|human|protagonist|speaker|performer|child|kid|toddler|teenager|adult"
_NOUN = rf"(?:{_MALE}|{_FEMALE}|{_ANYBODY})(?![\w-])"
_ADJECTIVE = (
    r"(?:young|younger|old|older|elderly|adult|little|tall|short|slim|bald|bearded|blonde?|smiling|seated|standing|main|same|lone|single"
    r"|male|female|[a-z]+-(?:haired|aged|looking|skinned|dressed)),?"
)
_MEDIUM = r"(?:video|clip|image|picture|photo|frames?|scene|footage|recording|sequence|film|foreground)"
_SHOWN_IN = rf"(?: (?:(?:shown|seen|depicted|pictured|visible) )?(?:in|of) (?:the|this) {_MEDIUM})?"
_DEFINITE = rf"(?:the|this|that) (?:{_ADJECTIVE} )*(?P<noun>{_NOUN}){_SHOWN_IN}"
_INDEFINITE = rf"an? (?:{_ADJECTIVE} )*(?P<kind>{_NOUN})"
_OTHERS = (
    rf"(?:another|one|the (?:other|second|first|third|next)|other|two|three|four|five|several|many|some|both|few) (?:{_ADJECTIVE} )*"
    rf"(?:{_NOUN}|one\b)|(?:another|others?|someone|somebody|everyone|everybody|people|men|women|children|kids|boys|girls|persons|individuals"
    r"|adults|couple|crowd|audience|friends?|companions?|partner|interviewer|colleagues?|mother|father|wife|husband|brother|sister|son"
    r"|daughter|baby|team|players?)\b"
)
_PRONOUN = r"(?P<pronoun>he|she|they)\b(?P<contraction>'(?:s|re|ll|ve|d)\b)?"
_OWNING = r"(?P<owning>his|hers?|him|theirs?|them)\b"
_MENTION = re.compile(rf"(?<![\w-])(?:{_DEFINITE}|(?P<others>{_OTHERS})|{_INDEFINITE}|{_PRONOUN}|{_OWNING})", re.IGNORECASE)

_THERE_IS = re.compile(rf"^there(?: is|'s) {_INDEFINITE},?(?: who(?: is|'s))? ", re.IGNORECASE)
_SETTING = r"(?:(?:in|on|at) [^,]{1,60}, )?"
_SHOWN = re.compile(
    rf"^{_SETTING}(?:(?:(?:the|this) {_MEDIUM}|it) (?:shows|features|depicts|captures) |(?:we|i|you) (?:can )?see )?$", re.IGNORECASE
)
_IS_A = re.compile(rf"^{_SETTING}(?:{_DEFINITE}|he|she|{NAME}) (?:is|was|appears to be|seems to be|looks like) $", re.IGNORECASE)
# "They are" is said of one person only where what follows is what people do; things "are moving" as well.
_SINGULAR_THEY = re.compile(
    r"^ (?P<verb>are|were) (?:(?:also|still|then|now|\w+ly) )?(?:wearing|standing|sitting|walking|running|holding|looking|smiling|talking"
    r"|speaking|laughing|dancing|singing|waving|clapping|jumping|nodding|eating|drinking|cooking|reading|writing|typing|playing|dressed"
    r"|seated|gesturing|pointing|leaning|kneeling|crouching|climbing|swimming|riding|carrying|facing|raising|lifting|wiping|working)\b",
    re.IGNORECASE,
)
_OWN_THING = re.compile(
    r"^ (?:\w+ ){0,2}(?:hair|face|eyes?|beard|moustache|glasses|skin|head|hands?|arms?|legs?|body|clothes|clothing|outfit|attire|shirt"
    r"|t-shirt|jacket|coat|dress|suit|trousers|pants|jeans|shorts|skirt|shoes|hat|cap|scarf|expression|smile|movements?|posture|gestures"
    r"|appearance|look)\b",
    re.IGNORECASE,
)
_AFTER_OBJECT = re.compile(r"^(?:[.,;:!?]|$| (?:and|or|as|in|on|at|to|from|with|while|by|for|into|near|behind|around|through|is|was)\b)")


class UncertainMention(Exception):
    """The sentence may speak of somebody else."""


class Mentions:
    """Goes through the sentences of one text and remembers who has been spoken of."""

    def __init__(self) -> None:
        self._gender = ""  # as nouns and pronouns have told
        self._others = False  # whether the text has spoken of other people: a "he" may then be one of them
        self._named = False

    def name(self, sentence: str) -> str:
        """The sentence with `NAME` for each mention of the person.

        "His" and "her" stay behind the name ("<name> lifts his hand").

        Raises:
          UncertainMention: see there.
        """
        if not self._named and NAME not in sentence:
            there_is = _THERE_IS.match(sentence)
            if there_is:
                self._remember(there_is["kind"])
                sentence = f"{NAME} is {sentence[there_is.end() :]}"
        self._named |= NAME in sentence
        try:
            return self._name_all(sentence)
        except UncertainMention:
            self._others |= any(mention["others"] or mention["kind"] for mention in _MENTION.finditer(sentence))
            raise

    def _name_all(self, sentence: str) -> str:
        pieces: list[str] = []
        end = 0
        for mention in _MENTION.finditer(sentence):
            pieces += [sentence[end : mention.start()], self._replacement(mention, "".join(pieces) + sentence[end : mention.start()])]
            end = mention.end()
            if mention["pronoun"] and mention["pronoun"].lower() == "they" and not mention["contraction"]:
                end = mention.end() + len(" are" if sentence[mention.end() :].lower().startswith(" are") else " were")
        return "".join([*pieces, sentence[end:]])

    def _replacement(self, mention: re.Match[str], before: str) -> str:
        """What to write for a mention behind the text `before`."""
        if mention["noun"]:
            return self._definite(mention["noun"])
        if mention["kind"]:
            return self._indefinite(mention, before)
        if mention["pronoun"]:
            return self._pronoun(mention)
        if mention["owning"]:
            return self._owner(mention, before)
        self._others = True
        return mention.group()

    def _definite(self, noun: str) -> str:
        if noun.lower() not in ("person", "individual", "subject"):  # captioners are told to say "the person", so this is certain
            self._must_be_the_person(_gender_of(noun))
        return self._name_it(_gender_of(noun))

    def _indefinite(self, mention: re.Match[str], before: str) -> str:
        if _IS_A.match(before) and not self._others:  # "<name> is a tall man"
            self._remember(mention["kind"])
            return mention.group()
        if not self._named and _SHOWN.match(before):
            return self._name_it(_gender_of(mention["kind"]))
        self._others = True
        return mention.group()

    def _pronoun(self, mention: re.Match[str]) -> str:
        pronoun, contraction = mention["pronoun"].lower(), (mention["contraction"] or "").lower()
        after = mention.string[mention.end() :]
        if pronoun == "they":
            found = _SINGULAR_THEY.match(f" are{after}" if contraction == "'re" else after)
            if self._others or not found or contraction not in ("", "'re"):
                raise UncertainMention
            return f"{self._name_it('')} {'is' if found['verb'].lower() == 'are' else 'was'}"
        gender = "m" if pronoun == "he" else "f"
        self._must_be_the_person(gender)
        if contraction == "'d":  # had or would
            raise UncertainMention
        verb = {"'s": " has" if re.match(r" (?:got|been)\b", after) else " is", "'ll": " will"}.get(contraction, "")
        return self._name_it(gender) + verb

    def _owner(self, mention: re.Match[str], before: str) -> str:
        word, after = mention["owning"].lower(), mention.string[mention.end() :]
        if NAME in before:
            return mention.group()
        gender = {"hi": "m", "he": "f"}.get(word[:2], "")
        self._must_be_the_person(gender)
        if word in ("them", "theirs", "hers") or (word == "their" and not _OWN_THING.match(after)):
            raise UncertainMention
        is_object = word == "him" or (word == "her" and _AFTER_OBJECT.match(after))
        return self._name_it(gender) + ("" if is_object else "'s")

    def _must_be_the_person(self, gender: str) -> None:
        self._others |= bool(gender and self._gender) and gender != self._gender
        if self._others:
            raise UncertainMention

    def _name_it(self, gender: str) -> str:
        self._gender = self._gender or gender
        self._named = True
        return NAME

    def _remember(self, noun: str) -> None:
        self._gender = self._gender or _gender_of(noun)


def _gender_of(noun: str) -> str:
    return "m" if re.fullmatch(_MALE, noun.lower()) else "f" if re.fullmatch(_FEMALE, noun.lower()) else ""
