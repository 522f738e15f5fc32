"""The chat on a terminal: questions, answers that arrive piece by piece, and commands that begin with a slash."""

import shlex
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pvchat_jax.data.json_fields import suggestion
from pvchat_jax.errors import UserError
from pvchat_jax.registry.names import bare
from pvchat_jax.registry.registry import Registry
from pvchat_jax.terminal.conversation import Conversation, Said, presence_line, readable
from pvchat_jax.terminal.lines import LineReader, keep_line
from pvchat_jax.terminal.opening import require_people

_HELP = """\
Type a question, such as: What is {name} doing? A name may be left out, and "And {name}?" asks the same about somebody else.
  /video FILE [START [END]]   ask about this video, or what it shows between two times in seconds; alone: says which it is
  /subject NAME [NAME ...]    ask about these people; alone: says who is enrolled
  /find [FILE_OR_FOLDER]      when they are seen in the video, in another, or in a folder of recordings
  /save FILE                  writes the conversation, as .json, .txt or .md
  /help                       this
  /quit                       ends, as Ctrl-D does; Ctrl-C stops an answer"""
_VERDICT_STYLES = {"present": "green", "absent": "red", "unsure": "yellow"}


class Screen:
    """A conversation at the terminal."""

    def __init__(self, conversation: Conversation, registry: Registry, console: Console) -> None:
        self._conversation = conversation
        self._registry = registry
        self._console = console
        self._lines = LineReader()
        self._commands: dict[str, Callable[[list[str]], bool]] = {
            "/video": self._video,
            "/subject": self._subject,
            "/find": self._find,
            "/save": self._save,
            "/help": self._help,
            "/quit": lambda arguments: False,
        }

    def run(self) -> None:
        """Until /quit or the end of the input."""
        self._say(f"About {self._who()} in {self._conversation.video or 'no video yet'}; /help lists what there is besides questions.")
        self._lines.recall(self._folder())
        while (line := self._read()) is not None and self._handle(line):
            pass

    def _read(self) -> str | None:
        while True:
            try:
                return self._lines.read(f"{self._who()}> ")
            except KeyboardInterrupt:
                self._say("\n(/quit or Ctrl-D ends)")
            except UnicodeDecodeError:
                self._say("error: that line is no text in UTF-8; type it again.", "red")

    def _handle(self, line: str) -> bool:
        """Whether to go on after `line`."""
        try:
            if line.startswith("/"):
                return self._command(line)
            if line:
                self._answer(line)
        except UserError as error:
            self._say(f"error: {error}", "red")
        except KeyboardInterrupt:
            self._say("\nstopped", "yellow")
        return True

    def _command(self, line: str) -> bool:
        try:
            name, *arguments = shlex.split(line)
        except ValueError as error:
            raise UserError(f"that cannot be read ({error}); put names with spaces into quotes.") from None
        if name not in self._commands:
            raise UserError(f"there is no {name}; /help lists what there is{suggestion(name, tuple(self._commands))}.")
        return self._commands[name](arguments)

    def _answer(self, question: str) -> None:
        pieces = self._conversation.stream(question)
        said: Said | None = None
        while said is None:
            try:
                self._console.print(readable(next(pieces), self._conversation.names), end="")
            except StopIteration as end:
                said = end.value
        worst = {0: "present", 1: "absent", 3: "unsure"}[said.status]
        self._say(f"\n{presence_line(said.reply)}" + ("" if said.reply.is_complete else " (cut off)"), _VERDICT_STYLES[worst])
        self._keep(question)

    def _keep(self, question: str) -> None:
        """Remembers a question with the one person whom it is about; where others are named, forgetting these would not find it."""
        others = (bare(person.name) for person in self._registry.people() if person.name not in self._conversation.names)
        if len(self._conversation.names) == 1 and not any(other.casefold() in question.casefold() for other in others):
            keep_line(self._folder(), question)

    def _video(self, arguments: list[str]) -> bool:
        if not arguments:
            self._say(self._conversation.video or "no video yet; /video FILE names one")
            return True
        path, *times = arguments
        self._conversation.look_at(Path(path), *_seconds(times))
        self._say(f"looking at {self._conversation.video}")
        return True

    def _subject(self, arguments: list[str]) -> bool:
        self._conversation.assistant.refresh()
        if not arguments:
            self._say(f"enrolled: {', '.join(bare(person.name) for person in self._registry.people())}; asked about: {self._who()}")
            return True
        self._conversation.names = require_people(self._registry, [name.strip(",") for name in arguments])
        self._lines.recall(self._folder())
        self._say(f"asking about {self._who()}")
        return True

    def _find(self, arguments: list[str]) -> bool:
        place = arguments[0] if arguments else self._conversation.video
        if place is None:
            raise UserError("there is no video yet; name a file or a folder: /find FILE_OR_FOLDER.")
        from pvchat_jax.terminal.finding import find_people

        find_people(self._conversation.assistant, self._registry, self._conversation.names, Path(place), self._console)
        return True

    def _save(self, arguments: list[str]) -> bool:
        if len(arguments) != 1:
            raise UserError("/save takes the name of one file, such as /save chat.json.")
        self._conversation.save(Path(arguments[0]))
        self._say(f"wrote {arguments[0]}")
        return True

    def _help(self, arguments: list[str]) -> bool:
        self._say(_HELP.format(name=bare(self._conversation.names[0])))
        return True

    def _who(self) -> str:
        return ", ".join(map(bare, self._conversation.names))

    def _folder(self) -> Path:
        return self._registry.person(self._conversation.names[0]).folder

    def _say(self, text: str, style: str = "dim") -> None:
        self._console.print(Text(text, style))


def _seconds(texts: list[str]) -> list[float]:
    """Start and end.

    Raises:
      UserError: these are no times.
    """
    try:
        times = [float(text) for text in texts]
    except ValueError:
        times = [-1.0]
    if len(times) > 2 or any(not 0 <= time < float("inf") for time in times) or times != sorted(set(times)):
        raise UserError(f"'{' '.join(texts)}' is no start and end in seconds; write /video clip.mp4 12 20.5")
    return times
