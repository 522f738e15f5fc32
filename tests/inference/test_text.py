"""Streamed text is the whole text, never shows a part of what stops it, and never a half of a character."""

from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.inference.text import TextStream, cut_at_stop

TEXTS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "<", "</", "é", "日本"]), max_size=12).map("".join)


def decode_bytes(ids: list[int]) -> str:
    """As tokenizers of bytes do: incomplete characters become replacement characters."""
    return bytes(ids).decode("utf-8", errors="replace")


def pieces_of(text: str, stop: list[str]) -> list[str]:
    stream, ids, pieces = TextStream(decode_bytes, stop), list(text.encode()), []
    for end in range(1, len(ids) + 1):
        pieces.append(stream.feed(ids[:end], is_last=end == len(ids)))
        if stream.stopped:
            break
    return pieces


@given(TEXTS, st.lists(st.sampled_from(["ab", "aab", "</a", "本", "b<"]), max_size=3))
def test_pieces_make_the_text_up_to_the_first_stop(text: str, stop: list[str]) -> None:
    pieces = pieces_of(text, stop)
    assert "".join(pieces) == cut_at_stop(text, stop)[0]
    assert not any("�" in piece for piece in pieces)


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    assert pieces_of("one<tw</two", ["</t"]) == ["o", "n", "e", "", "<t", "w", "", "", ""]


def test_the_earliest_stop_counts() -> None:
    assert cut_at_stop("a b c", ["c", "b"]) == ("a ", True)
    assert cut_at_stop("a b c", []) == ("a b c", False)
