"""One question on its way through the server: how it is asked, what is told of it while it is answered, and its parts."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pvchat_jax.assistant.assistant import Turn
from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.assistant.wording import asks_presence, together
from pvchat_jax.inference.engine import Reply
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.server.refusals import Refusal


class Began(NamedTuple):
    """The question left the queue; whether the people are there is known, by name."""

    presence: dict[str, Presence]


class Piece(NamedTuple):
    """Text that was added to the answer."""

    text: str


class Answered(NamedTuple):
    """The answer is complete, or was cut off after its `max_new_tokens`."""

    text: str
    presence: dict[str, Presence]
    is_complete: bool
    num_prompt_tokens: int
    num_tokens: int


Event = Began | Piece | Answered | Refusal


@dataclasses.dataclass(eq=False)
class Question:
    """What a client wants to know.

    Attributes:
      names: of people, as the registry writes them. history: earlier questions with their answers.
      is_streamed: whether the client wants pieces.
      deliver: is told what happens, from the worker's thread; a refusal or `Answered` is the last.
      is_cancelled: nobody waits for the answer any more.
    """

    watched: Watched
    names: tuple[str, ...]
    text: str
    history: tuple[tuple[str, str], ...]
    options: DecodingOptions
    is_streamed: bool
    deliver: Callable[[Event], None]
    is_cancelled: bool = False


class Answer:
    """The answers about each person of a question, put together as they come."""

    def __init__(self, question: Question, turns: Sequence[Turn]) -> None:
        self.question = question
        self._turns = turns
        self._texts = {turn.name: turn.text for turn in turns if turn.text is not None}
        self._is_complete, self._num_tokens = True, 0
        self._num_sent = 0  # people whose lines were sent
        self._has_begun = False
        question.deliver(Began(self._presence))

    @property
    def open_turns(self) -> list[Turn]:
        """Those that the model has to answer."""
        return [turn for turn in self._turns if turn.name not in self._texts]

    def add_piece(self, piece: str) -> None:
        """Text about a person; where there are several, their lines are sent whole, in order."""
        if self.question.is_streamed and len(self._turns) == 1:
            piece = piece if self._has_begun else piece.lstrip()
            if piece:
                self._has_begun = True
                self.question.deliver(Piece(piece))

    def add_reply(self, name: str, reply: Reply) -> None:
        """The whole answer about a person."""
        label = f"{name}: " if len(self._turns) > 1 else ""
        self._texts[name] = label + reply.text.strip()
        self._is_complete &= reply.is_complete
        self._num_tokens += len(reply.tokens)
        self.settle()

    def settle(self) -> None:
        """Tells what is known by now."""
        is_done = not self.open_turns
        text = self._whole if is_done else ""
        if self.question.is_streamed:
            self._send_lines(text)
        if is_done:
            num_prompt = sum(len(turn.row.input_ids) for turn in self._turns)
            self.question.deliver(Answered(text, self._presence, self._is_complete, num_prompt, self._num_tokens))

    def _send_lines(self, whole: str) -> None:
        if all(turn.text is not None for turn in self._turns) or (whole and len(self._turns) == 1 and not self._has_begun):
            self.question.deliver(Piece(whole))
            return
        while len(self._turns) > 1 and self._num_sent < len(self._turns):
            turn = self._turns[self._num_sent]
            if turn.name not in self._texts:
                return
            line = self._texts[turn.name]
            self.question.deliver(Piece(f"\n{line}" if self._num_sent else line))
            self._num_sent += 1

    @property
    def _whole(self) -> str:
        """As `Assistant.reply` puts it together: whether several people are there is one sentence."""
        if len(self._turns) > 1 and all(asks_presence(turn.question, turn.name) for turn in self._turns):
            return together({turn.name: turn.presence.verdict for turn in self._turns})
        return "\n".join(self._texts[turn.name] for turn in self._turns)

    @property
    def _presence(self) -> dict[str, Presence]:
        return {turn.name: turn.presence for turn in self._turns}
