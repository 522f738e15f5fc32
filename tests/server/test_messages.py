"""What a conversation asks: which video, whom, and what was said before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pvchat_jax.server.messages import Conversation, choose_names, read_conversation
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.schemas import Message

KNOWN = ("<Ada>", "<Ada-Lovelace>", "<Wilson>")
MESSAGES = TypeAdapter(list[Message])


def user(text: str = "", video: str | None = None) -> dict:
    parts = [{"type": "text", "text": text}] if text else []
    return {"role": "user", "content": [*parts, *([{"type": "video_url", "video_url": {"url": video}}] if video else [])]}


def said(text: str) -> dict:
    return {"role": "assistant", "content": text}


def read(*messages: dict) -> Conversation:
    return read_conversation(MESSAGES.validate_python(list(messages)))


def test_a_new_video_begins_anew() -> None:
    conversation = read(user("first", "a.mp4"), said("one"), user("second", "b.mp4"), said("two"), user("third"))
    assert conversation == Conversation("b.mp4", "third", (("second", "two"),))


def test_a_video_may_come_in_a_message_of_its_own() -> None:
    assert read(user(video="a.mp4"), user("who is it?")) == Conversation("a.mp4", "who is it?", ())
    assert read({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}, user("who?")).video == "file-1"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([user("who?")], "no message has a video"),
        ([user("who?", "a.mp4"), said("he")], "end with a question"),
        ([user(video="a.mp4")], "no question"),
        ([user("who?", "a.mp4"), {**user("there", "b.mp4"), "role": "assistant"}, user("who?")], "belong into messages of the user"),
        ([{"role": "user", "content": [*user("who?", "a.mp4")["content"], *user("", "b.mp4")["content"]]}], "2 videos"),
        ([{"role": "user", "content": [{"type": "file", "file": {}}]}], "neither file_id"),
    ],
)
def test_what_asks_nothing_is_refused(messages: list[dict], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        read(*messages)


@pytest.mark.parametrize(
    ("model", "question", "names"),
    [
        ("pvchat", "Is Wilson there?", ("<Wilson>",)),
        ("pvchat", "is wilson, or <ada> there?", ("<Wilson>", "<Ada>")),
        ("pvchat", "Is Ada-Lovelace's hat red?", ("<Ada>", "<Ada-Lovelace>")),
        ("pvchat:wilson", "Is Ada there?", ("<Wilson>",)),
        ("pvchat:<Ada>, Wilson,ada", "Who?", ("<Ada>", "<Wilson>")),
    ],
)
def test_who_is_meant(model: str, question: str, names: tuple[str, ...]) -> None:
    assert choose_names(model, Conversation("a.mp4", question, ()), KNOWN, 8) == names


def test_who_was_meant_before_or_is_the_only_one() -> None:
    later = Conversation("a.mp4", "And what does he wear?", (("Is Ada there?", "No."), ("Is Wilson there?", "Yes.")))
    assert choose_names("pvchat", later, KNOWN, 8) == ("<Wilson>",)
    assert choose_names("pvchat", Conversation("a.mp4", "What does he wear?", ()), ("<Wilson>",), 8) == ("<Wilson>",)
    for names, most, message in ((KNOWN, 8, "name somebody"), ((), 8, "nobody is enrolled")):
        with pytest.raises(Refusal, match=message):
            choose_names("pvchat", Conversation("a.mp4", "Who is Wilsonia?", ()), names, most)
    with pytest.raises(Refusal, match="2 people"):
        choose_names("pvchat:ada,wilson", later, KNOWN, 1)


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=5), st.sampled_from([None, "a", "b"])), min_size=1, max_size=8))
def test_any_order_is_read_or_refused(turns: list[tuple[bool, str, str | None]]) -> None:
    messages = [user(text, video) if is_user else said(text) for is_user, text, video in turns]
    try:
        conversation = read(*messages)
    except Refusal as refusal:
        assert refusal.status == 400
    else:
        assert conversation.question and conversation.video in "ab"
