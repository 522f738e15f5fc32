"""Lines that are typed, and what was typed to the same person before, for the arrow keys."""

import sys
from pathlib import Path

from pvchat_jax.files import write_atomically

HISTORY_FILE = "chat_history"  # in the person's folder, so that forgetting the person erases it
_MOST = 500


class LineReader:
    """Reads lines from a terminal with editing and history where there is a terminal, plainly elsewhere."""

    def __init__(self) -> None:
        self.is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
        if self.is_interactive:
            import readline  # gives `input` its keys

            self._readline = readline

    def recall(self, folder: Path) -> None:
        """Puts what was typed to the person of `folder` before into the arrow keys."""
        if self.is_interactive:
            self._readline.clear_history()
            for line in read_lines(folder):
                self._readline.add_history(line)

    def read(self, prompt: str) -> str | None:
        """The next line without outer spaces; None at the end."""
        try:
            return input(prompt if self.is_interactive else "").strip()
        except EOFError:
            return None


def read_lines(folder: Path) -> list[str]:
    """What was typed to the person, the oldest first."""
    try:
        return (folder / HISTORY_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def keep_line(folder: Path, line: str) -> None:
    """Adds a line to what was typed to the person."""
    if folder.is_dir():  # the person may have been erased meanwhile
        lines = [*read_lines(folder), " ".join(line.split())]
        write_atomically(folder / HISTORY_FILE, "".join(f"{kept}\n" for kept in lines[-_MOST:]))
