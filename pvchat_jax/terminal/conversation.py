"""A conversation about a video: who and what it is about, and what was said."""

import dataclasses
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.assistant.assistant import Assistant, Reply
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.registry.names import bare

PRESENT, ABSENT, UNSURE = 0, 1, 3  # exit statuses; 2 is a mistake
_TEXT_SUFFIXES = (".txt", ".md")


@dataclasses.dataclass(frozen=True)
class Said:
    """A question about a video with its answer."""

    video: str
    question: str
    reply: Reply

    @property
    def status(self) -> int:
        """For scripts: of several people the worst."""
        verdicts = {found.verdict for found in self.reply.presence.values()}
        return ABSENT if "absent" in verdicts else UNSURE if "unsure" in verdicts else PRESENT

    def to_json(self) -> dict[str, Any]:
        people = {
            bare(name): {"verdict": found.verdict, "probability": round(found.probability, 4), "log_odds": round(found.log_odds, 4)}
            for name, found in self.reply.presence.items()
        }
        return {
            "video": self.video,
            "question": self.question,
            "answer": self.reply.text,
            "people": people,
            "is_complete": self.reply.is_complete,
            "num_tokens": self.reply.num_tokens,
        }

    def as_text(self) -> str:
        return f"{readable(self.reply.text, self.reply.presence)}\n{presence_line(self.reply)}"


def presence_line(reply: Reply) -> str:
    """Such as `(Wilson: present, 97 %)`."""
    return f"({'; '.join(f'{bare(name)}: {found.verdict}, {found.probability:.0%}' for name, found in reply.presence.items())})"


def readable(text: str, names: Any) -> str:
    """`text` with the names as people write them."""
    for name in names:
        text = text.replace(name, bare(name))
    return text


class Conversation:
    """Questions and answers, one after the other.

    Attributes:
      names: of whom is asked. turns: all that was said.
    """

    def __init__(self, assistant: Assistant, names: Sequence[str], options: DecodingOptions) -> None:
        self.assistant = assistant
        self.names = list(names)
        self.turns: list[Said] = []
        self._options = options
        self._watched: Watched | None = None

    @property
    def video(self) -> str | None:
        """What is asked about."""
        return None if self._watched is None else self._watched.source

    def look_at(self, path: Path, start: float | None = None, end: float | None = None) -> None:
        """Asks about another video from now on, or about a part of it.

        Raises:
          UserError: it cannot be read; what was asked about before stays.
        """
        self._watched = self.assistant.watch(path, start=start, end=end)

    def stream(self, question: str) -> Generator[str, None, Said]:
        """The answer in pieces; what was said is kept when it is whole.

        Raises:
          UserError: there is no video yet, or it cannot be asked.
        """
        if self._watched is None:
            raise UserError("there is no video yet; name one with /video FILE.")
        history = [(said.question, said.reply.text) for said in self.turns]
        reply = yield from self.assistant.stream(self._watched, self.names, question, self._options, history)
        said = Said(self._watched.source, question, reply)
        self.turns.append(said)
        return said

    def ask(self, question: str) -> Said:
        """As `stream`, at once."""
        pieces = self.stream(question)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value

    def save(self, path: Path) -> None:
        """Writes what was said: JSON, or text where the file ends in .txt or .md.

        Raises:
          UserError: nothing was said, the file has another suffix, is there already, or cannot be written.
        """
        if not self.turns:
            raise UserError("nothing was said yet, so there is nothing to save.")
        if path.suffix not in (".json", *_TEXT_SUFFIXES):
            raise UserError(f"{path} ends in neither .json nor .txt nor .md; give it one of these suffixes.")
        if path.exists():
            raise UserError(f"{path} exists already; choose another name.")
        if path.suffix == ".json":
            text = json.dumps([said.to_json() for said in self.turns], ensure_ascii=False, indent=2)
        else:
            text = "\n\n".join(f"{said.video}\nQ: {said.question}\nA: {said.as_text()}" for said in self.turns)
        try:
            write_atomically(path, text + "\n")
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
