"""The files of a corpus's index: embeddings that can be mapped into memory, and what is known of each file.

The folder of an index holds `about.json`, which names the reader, the folder of the corpus, the length D of an embedding and the
number G of the two other files. `embeddings-G.f32` has the embeddings, float32[N, D], row after row. `files-G.jsonl` has a line
for each file of the corpus, in the order of their rows:
`{"file", "sha256", "size", "mtime_ns", "faces": [{"box", "score", "frame"}], "set_aside"}`, where `set_aside` says why there are
no faces. A line is written after the rows that it stands for, so what an interruption leaves over is noticed and cut off.
"""

import collections
import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

_ABOUT = "about.json"


class Line(NamedTuple):
    """A line of `files-G.jsonl`: its place in bytes, and the row of its first face."""

    start: int
    end: int
    first_row: int
    values: Mapping[str, Any]

    @property
    def last_row(self) -> int:
        """The row after those of this line."""
        return self.first_row + len(self.values["faces"])


class IndexFiles(NamedTuple):
    """An index on disk. `dimension` is 0 as long as no face was found."""

    place: Path
    reader: str
    folder: str
    dimension: int = 0
    generation: int = 0

    @property
    def embeddings_file(self) -> Path:
        """Of the current generation."""
        return self.place / f"embeddings-{self.generation}.f32"

    @property
    def lines_file(self) -> Path:
        """Of the current generation."""
        return self.place / f"files-{self.generation}.jsonl"

    def write_about(self) -> None:
        """Makes this what `open_index` finds."""
        values = {name: getattr(self, name) for name in ("reader", "folder", "dimension", "generation")}
        write_atomically(self.place / _ABOUT, json.dumps(values) + "\n")

    def lines(self) -> Iterator[Line]:
        """All lines that are whole and have their rows."""
        rows = self.embeddings_file.stat().st_size // (4 * self.dimension) if self.dimension and self.embeddings_file.exists() else 0
        if not self.lines_file.exists():
            return
        with open(self.lines_file, "rb") as file:
            start = first_row = 0
            for text in file:
                try:
                    line = Line(start, start + len(text), first_row, json.loads(text))
                except ValueError:
                    return
                if not text.endswith(b"\n") or line.last_row > rows:
                    return
                yield line
                start, first_row = line.end, line.last_row

    def embeddings(self, num_rows: int) -> np.ndarray:
        """The first rows, float32[num_rows, D], mapped and not to be written to."""
        if not num_rows:  # an empty file cannot be mapped
            return np.empty((0, self.dimension), np.float32)
        return np.memmap(self.embeddings_file, np.float32, "r", shape=(num_rows, self.dimension))

    def values_at(self, start: int) -> Mapping[str, Any]:
        """The values of the line that starts at this byte."""
        with open(self.lines_file, "rb") as file:
            file.seek(start)
            return json.loads(file.readline())

    def cut(self) -> None:
        """Removes what an interruption left over: half lines, rows without a line, files of another generation."""
        last = next(iter(collections.deque(self.lines(), maxlen=1)), None)
        with open(self.lines_file, "ab") as file:
            file.truncate(last.end if last else 0)
        with open(self.embeddings_file, "ab") as file:
            file.truncate(last.last_row * self._row_bytes if last else 0)
        for path in self.place.iterdir():
            if re.fullmatch(r"(embeddings|files)-\d+\.(f32|jsonl)", path.name) and path not in (self.lines_file, self.embeddings_file):
                path.unlink()

    def append(self, entries: Sequence[tuple[Mapping[str, Any], np.ndarray]]) -> None:
        """Adds the values of lines with the embeddings float32[len(faces), D] of their faces."""
        with open(self.embeddings_file, "ab") as file:
            for _, embeddings in entries:
                file.write(np.ascontiguousarray(embeddings, np.float32))
            file.flush()
            os.fsync(file.fileno())
        with open(self.lines_file, "ab") as file:
            file.write("".join(f"{json.dumps(values, ensure_ascii=False)}\n" for values, _ in entries).encode())

    def without(self, gone: Iterable[int]) -> "IndexFiles":
        """A new generation that lacks the lines which start at `gone`; the old one is removed when the new one holds."""
        left_out = frozenset(gone)
        new = self._replace(generation=self.generation + 1)
        with open(new.embeddings_file, "wb") as rows, open(new.lines_file, "wb") as lines, open(self.embeddings_file, "rb") as old_rows:
            for line in self.lines():
                old = old_rows.read((line.last_row - line.first_row) * self._row_bytes)
                if line.start not in left_out:
                    rows.write(old)
                    lines.write(json.dumps(line.values, ensure_ascii=False).encode() + b"\n")
            for file in (rows, lines):
                file.flush()
                os.fsync(file.fileno())
        new.write_about()
        new.cut()
        return new

    @property
    def _row_bytes(self) -> int:
        return 4 * self.dimension


def open_index(out: Path, reader: str) -> IndexFiles | None:
    """The index in `out` of the reader of this name, None if there is none.

    Raises:
      UserError: it is damaged.
    """
    place = index_place(out, reader)
    path = place / _ABOUT
    if not path.exists():
        return None
    try:
        return IndexFiles(place=place, **json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete the folder {place} to index the corpus anew.") from error


def index_place(out: Path, reader: str) -> Path:
    """The folder inside `out` for the index of one reader, whose name need not be usable as a file name."""
    legible = re.sub(r"[^A-Za-z0-9.]+", "-", reader).strip("-.")[:40]
    return out / f"{legible}-{hashlib.sha256(reader.encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Makes the folder, and waits until no other process builds the index in it."""
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
