"""What a question asks is read right for all phrasings that training knows, and what is said is understood by the parser of answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.assistant.wording import about, asks_presence, complete, decided, together
from pvchat_jax.data.presence import parse_presence
from pvchat_jax.synthesis.phrases import PHRASES
from pvchat_jax.world.questions import TEST_PHRASINGS, TRAIN_PHRASINGS

NAMES = ("<Wilson>", "<Ada Lovelace>")
EXISTENCE = [*TRAIN_PHRASINGS["existence"], *TEST_PHRASINGS["existence"], *(phrase.question for phrase in PHRASES.existence)]
CONTENT = [
    question
    for bank in (TRAIN_PHRASINGS, TEST_PHRASINGS, PHRASES.content)
    for kind in ("appearance", "action", "location")
    for question in bank[kind]
]


@pytest.mark.parametrize("name", ["<Wilson>", "<Will>", "<Video>"])
def test_all_phrasings_are_told_apart(name: str) -> None:
    assert [question for question in EXISTENCE if not asks_presence(question.format(name=name), name)] == []
    assert [question for question in CONTENT if asks_presence(question.format(name=name), name)] == []


@pytest.mark.parametrize(
    ("question", "is_presence"),
    [
        ("Who is here?", True),
        ("Who can you see in the video?", True),
        ("Who is <Wilson>?", False),
        ("Who is waving?", False),
        ("Is anybody here?", False),
        ("Is <Wilson> wearing a hat?", False),
        ("<Wilson>", True),
    ],
)
def test_what_is_free_to_ask(question: str, is_presence: bool) -> None:
    assert asks_presence(question, "<Wilson>") == is_presence


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Is Wilson here?", "Is <Wilson> here?"),
        ("is wilson here?", "is <Wilson> here?"),
        ("What is <Wilson> doing?", "What is <Wilson> doing?"),
        ("What is Wilson's hat like?", "What is <Wilson>'s hat like?"),
        ("Are Wilson and Ada Lovelace here?", "Is <Wilson> here?"),
        ("Do Wilson, and <ada lovelace> wave?", "Does <Wilson> wave?"),
        ("Where are Ada Lovelace or Wilson?", "Where is <Wilson>?"),
        ("What is he doing?", "What is <Wilson> doing?"),
        ("What are they doing?", "What is <Wilson> doing?"),
        ("Is Wilson next to Ada Lovelace?", "Is <Wilson> next to Ada Lovelace?"),
        ("Did he see Wilson?", "Did he see <Wilson>?"),
        ("What about the Wilsons?", "What about the Wilsons?"),
    ],
)
def test_a_question_is_put_to_one_person(question: str, asked: str) -> None:
    assert about(question, "<Wilson>", NAMES) == asked


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_any_text_can_be_asked(text: str) -> None:
    asked = about(text, "<Wilson>", NAMES)
    asks_presence(complete(asked, [text], NAMES), "<Wilson>")
    assert about(asked, "<Wilson>", NAMES) == asked


@pytest.mark.parametrize(
    ("question", "earlier", "whole"),
    [
        ("And Ada Lovelace?", ["What is Wilson wearing?"], "What is they wearing?"),
        ("what about wilson", ["Hi", "Are Wilson and Ada Lovelace here?"], "Are they here?"),
        ("And Wilson?", ["Where is Ada Lovelace?", "How about Wilson?"], "Where is they?"),
        ("And Wilson?", [], "And Wilson?"),
        ("And what is Wilson doing?", ["Where is Wilson?"], "And what is Wilson doing?"),
    ],
)
def test_what_a_question_leaves_out_is_taken_from_the_last(question: str, earlier: list[str], whole: str) -> None:
    assert complete(question, earlier, NAMES) == whole


@pytest.mark.parametrize("question", ["Is <Wilson> here?", "Is <Wilson> on screen?", *EXISTENCE[-26:]])
def test_what_is_decided_says_so(question: str) -> None:
    question = question.format(name="<Wilson>")
    said = {verdict: decided(question, "<Wilson>", verdict) for verdict in ("present", "absent", "unsure")}
    assert [parse_presence(text or "", "<Wilson>") for text in said.values()] == ["present", "absent", "unknown"]


def test_only_somebody_who_is_there_is_left_to_the_model() -> None:
    question = "What is <Wilson> wearing?"
    assert decided(question, "<Wilson>", "present") is None
    assert parse_presence(decided(question, "<Wilson>", "absent") or "", "<Wilson>") == "absent"
    assert parse_presence(decided(question, "<Wilson>", "unsure") or "", "<Wilson>") == "unknown"


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        (("present", "present"), "Yes, <A> and <B> are in this video."),
        (("absent", "absent"), "No, neither <A> nor <B> is in this video."),
        (("absent", "present"), "Only <B> is in this video, <A> is not."),
        (("unsure", "present"), "Yes, <B> is in this video. I am not sure whether <A> is in this video."),
        (("unsure", "unsure"), "I am not sure whether <A> is in this video. I am not sure whether <B> is in this video."),
    ],
)
def test_several_people_are_spoken_of_together(verdicts: tuple[str, str], text: str) -> None:
    assert together(dict(zip(("<A>", "<B>"), verdicts, strict=True))) == text
