"""Text of an answer while its tokens arrive, and where it stops."""

from collections.abc import Callable, Sequence

_INCOMPLETE = "�"  # what tokenizers write for bytes that are no character yet


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """`text` up to where the first stop text in it begins, and whether there was one."""
    found = [index for index in map(text.find, stop) if index >= 0]
    return (text[: min(found)], True) if found else (text, False)


class TextStream:
    """Pieces of an answer's text that will not change any more.

    Args:
      decode: text of token ids.
      stop: texts that end the answer; what may be the beginning of one is kept back until that is clear.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = stop
        self._sent = 0
        self.stopped = False

    def feed(self, ids: list[int], *, is_last: bool) -> str:
        """What may be shown now that the answer's tokens are `ids`, all of them so far; "" if that is nothing new."""
        text, self.stopped = cut_at_stop(self._decode(ids), self._stop)
        end = len(text)
        if not (is_last or self.stopped):
            end = len(text.rstrip(_INCOMPLETE))
            end -= max((_overlap(text[:end], stop) for stop in self._stop), default=0)
        piece = text[self._sent : end]
        self._sent = max(self._sent, end)
        return piece


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
