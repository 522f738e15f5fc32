"""The reader of sentence answers: what says present, what says absent, and what says neither."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pvchat_jax.data.presence import parse_presence

SUBJECT = "<Wilson>"
PRESENT = [
    "Yes.",
    "yes",
    "<Wilson> is visible.",
    "The clip shows <Wilson> at a table.",
    "<Wilson> is dancing in the park.",
    "Yes, <Wilson> walks past, but not in every frame.",
    "Yes, and he wears a hat without a brim.",
    "I have found <Wilson>.",
    "Wilson is here.",
    "WILSON appears twice.",
    "He is here.",
    "I can see him on the left.",
    "Correct, that is him.",
    "Definitely.",
    "Present.",
    "Only <Wilson> can be seen.",
    "No one but <Wilson> is in the video.",
    "Nobody except <Wilson> appears.",
    "It is none other than <Wilson>.",
    "There is no doubt that <Wilson> is here.",
    "Without a doubt <Wilson> appears.",
    "<Wilson> is not absent.",
    "The video does not lack <Wilson>.",
    "<Wilson> is not alone in this video.",
    "It is not <Ann>, it is <Wilson>.",
    "<Ann> is absent and I can see <Wilson>.",
    "<Wilson> is in the clip, while <Ann> is nowhere to be seen.",
    "<Ann>, <Bob> and <Wilson> are all here.",
    "<Wilson>, the man in red, is here.",
    "It looks like <Wilson> is in the video.",
    "<Wilson>\N{RIGHT SINGLE QUOTATION MARK}s face fills the picture.",
    "The answer is yes.",
    "It can't be denied that <Wilson> is here.",
    "You can't miss <Wilson> in this video.",
    "<Wilson> never leaves the picture.",
    "<Wilson> is not hard to spot.",
    "<Wilson> is in every frame without exception.",
    "There isn't a frame without <Wilson>.",
    "I see <Wilson> instead of <Ann>.",
    "It is not true that <Wilson> is absent.",
]
ABSENT = [
    "No.",
    "no",
    "Nope",
    "Absolutely not.",
    "Not present.",
    "<Wilson> is absent.",
    "<Wilson> isn't here",
    "<Wilson> isn\N{RIGHT SINGLE QUOTATION MARK}t here",
    "<Wilson> doesnt appear",
    "I cannot see <Wilson>.",
    "I can't find any trace of <Wilson>.",
    "<Wilson> is never shown.",
    "<Wilson> is nowhere to be seen.",
    "<Wilson> is missing from the clip.",
    "<Wilson> cannot be clearly seen.",
    "<Wilson> does not appear to be in this video.",
    "I do not think <Wilson> is in this video.",
    "I am unable to find <Wilson>.",
    "I failed to spot <Wilson>.",
    "No <Wilson> here",
    "The scene is devoid of <Wilson>.",
    "The footage is free of <Wilson>.",
    "I rule out the presence of <Wilson>.",
    "Nothing resembling <Wilson> turns up.",
    "Nobody in the video is <Wilson>.",
    "None of the people is <Wilson>.",
    "Everyone but <Wilson> is in the video.",
    "This is someone other than <Wilson>.",
    "The person shown isn't Wilson, it's <Ann>.",
    "No, it is someone else.",
    "No, <Wilson> is not here; <Ann> is.",
    "Neither <Ann> nor <Wilson> is here.",
    "<Ann> is visible but <Wilson> is not.",
    "<Ann> is here and <Wilson> is not.",
    "<Ann> and <Wilson> are both absent.",
    "<Wilson>, the man in red, is not here.",
    "I looked for <Wilson>. He is not in the video.",
    "I cannot describe what <Wilson> wears because he does not appear.",
    "As <Wilson> is not shown, I cannot say what he does.",
    "Nothing can be said of <Wilson> as they are not in the clip.",
    "He is not here.",
    "I cannot see anyone.",
    "There is no one here.",
    "The answer is no.",
    "At no time is <Wilson> visible.",
    "Under no circumstances does <Wilson> show up.",
    "It is not true that <Wilson> is in the video.",
    "It would be wrong to say that <Wilson> appears.",
    "I see <Ann> instead of <Wilson>.",
]
UNKNOWN = [
    "",
    "  \n",
    "asdf qwer",
    "[INST]",
    "A red coat.",
    "A wilson chair.",
    "The video shows a park.",
    "A man is dancing.",
    "A man without a hat is dancing.",
    "<Ann> is here.",
    "<Ann> is not here.",
    "Is <Wilson> here?",
    "I am not sure.",
    "I don't know.",
    "Yes and no",
    "Maybe <Wilson> is here.",
    "I believe it could be <Wilson>, but I am not certain.",
    "<Wilson> might be here.",
    "I cannot tell if <Wilson> is here.",
    "I cannot determine whether <Wilson> is present.",
    "It is hard to say whether <Wilson> appears.",
    "The man looks like <Wilson>.",
    "<Wilson> is not wearing a hat.",
    "Yes, <Wilson> is not here.",
    "No, <Wilson> is here.",
    "<Wilson> is here. <Wilson> is not here.",
]


@pytest.mark.parametrize("answer", PRESENT)
def test_says_present(answer: str) -> None:
    assert parse_presence(answer, SUBJECT) == "present"


@pytest.mark.parametrize("answer", ABSENT)
def test_says_absent(answer: str) -> None:
    assert parse_presence(answer, SUBJECT) == "absent"


@pytest.mark.parametrize("answer", UNKNOWN)
def test_says_neither(answer: str) -> None:
    assert parse_presence(answer, SUBJECT) == "unknown"


@pytest.mark.parametrize(
    "answer",
    ["I can confirm that <Ann> appears, though there is no sign of <Wilson>.", "I can see <Ann>, but not <Wilson>."],
)
def test_each_of_two_subjects_gets_its_own_verdict(answer: str) -> None:
    assert (parse_presence(answer, "<Ann>"), parse_presence(answer, "<Wilson>")) == ("present", "absent")


# Sentences that differ in nothing but one negation, made of parts.
PLACES = ["", " in this video", " here", " anywhere in the footage", " at any point"]
SEEN = ["visible", "present", "shown", "to be seen", "in view", "captured", "featured"]
FINDS = ["see", "find", "detect", "identify", "recognise", "make out"]
HOLDS = ["show", "contain", "include", "feature"]
ADVERBS = ["", "clearly ", "really ", "actually "]


@st.composite
def sentence_pairs(draw: st.DrawFn) -> tuple[str, str]:
    """(a sentence that asserts presence, its negation); NAME stands for the subject."""
    place, adverb = draw(st.sampled_from(PLACES)), draw(st.sampled_from(ADVERBS))
    kind = draw(st.sampled_from(["be", "find", "hold", "appear"]))
    if kind == "be":
        seen, negated = draw(st.sampled_from(SEEN)), draw(st.sampled_from(["is not", "isn't", "is never"]))
        return f"NAME is {adverb}{seen}{place}.", f"NAME {negated} {adverb}{seen}{place}."
    if kind == "find":
        verb, negated = draw(st.sampled_from(FINDS)), draw(st.sampled_from(["cannot", "can't", "could not"]))
        return f"I can {adverb}{verb} NAME{place}.", f"I {negated} {adverb}{verb} NAME{place}."
    negated = draw(st.sampled_from(["does not", "did not", "doesn't"]))
    if kind == "hold":
        verb = draw(st.sampled_from(HOLDS))
        return f"The video {adverb}{verb}s NAME{place}.", f"The video {negated} {adverb}{verb} NAME{place}."
    return f"NAME {adverb}appears{place}.", f"NAME {negated} {adverb}appear{place}."


SETTINGS = settings(max_examples=50, deadline=None)
NAMES = st.from_regex(r"<[A-Z][a-z]{0,9}>", fullmatch=True)


@SETTINGS
@given(sentence_pairs(), NAMES)
@example(("NAME is visible.", "NAME is not visible."), "<No>")
@example(("NAME is visible.", "NAME is not visible."), "<Will>")
@example(("I can see NAME.", "I cannot see NAME."), "<Nobody>")
@example(("The clip shows NAME.", "The clip lacks NAME."), "<Notary>")
def test_one_negation_turns_the_verdict_whatever_the_name(pair: tuple[str, str], name: str) -> None:
    verdicts = tuple(parse_presence(sentence.replace("NAME", name), name) for sentence in pair)
    assert verdicts == ("present", "absent")


@given(
    sentence_pairs(), st.sampled_from([str.upper, str.lower, str.title, lambda text: f"  {text}\n", lambda text: text.rstrip(".") + "!"])
)
def test_case_and_spacing_do_not_matter(pair: tuple[str, str], change: Callable[[str], str]) -> None:
    sentences = [sentence.replace("NAME", SUBJECT) for sentence in pair]
    assert [parse_presence(change(sentence), SUBJECT) for sentence in sentences] == ["present", "absent"]


@SETTINGS
@given(sentence_pairs(), sentence_pairs())
def test_agreement_stands_and_contradiction_is_unknown(first: tuple[str, str], second: tuple[str, str]) -> None:
    yes, no, also_yes, also_no = (sentence.replace("NAME", SUBJECT) for sentence in (*first, *second))
    assert parse_presence(f"{yes} {also_yes}", SUBJECT) == "present"
    assert parse_presence(f"{no} {also_no}", SUBJECT) == "absent"
    assert parse_presence(f"{yes} {also_no}", SUBJECT) == "unknown"
    assert parse_presence(f"Yes. {no}", SUBJECT) == "unknown"


OTHER_NAMES = st.sampled_from(["<Ann>", "<Mara>", "<Bo>"])


@SETTINGS
@given(sentence_pairs(), OTHER_NAMES)
def test_what_is_said_around_a_sentence_keeps_or_turns_its_verdict(pair: tuple[str, str], other: str) -> None:
    yes, no = (sentence.replace("NAME", SUBJECT).rstrip(".") for sentence in pair)
    for sentence, verdict, opposite in ((yes, "present", "absent"), (no, "absent", "present")):
        for around in ("The answer is simple: {}.", "I can't deny that {}.", "There is no doubt that {}.", "{}, without exception."):
            assert parse_presence(around.format(sentence), SUBJECT) == verdict, around
        for around in ("It is not true that {}.", "It's not the case that {}.", "It is false that {}."):
            assert parse_presence(around.format(sentence), SUBJECT) == opposite, around
        for about_other in (f"{other} is absent, but ", f"{other} waves; ", f"It is not {other}. "):
            assert parse_presence(f"{about_other}{sentence}.", SUBJECT) == verdict, about_other


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from("no not yes <Wilson> , . ? and but neither <Ann> is here \ue000".split())).map(" ".join)
)
@SETTINGS
def test_any_text_gets_a_verdict(text: str) -> None:
    assert parse_presence(text, SUBJECT) in ("present", "absent", "unknown")
