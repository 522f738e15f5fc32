"""The SQLite file that keeps the features of windows, so that a second question about a video encodes nothing.

What is kept belongs to the content of a video and to the way it was looked at (`Viewing.description`: the base, the preprocessing, the
windows); files may be moved, copied and renamed. Each chunk of windows is one transaction, so an interrupted indexing goes on with the
next. Features are of everybody who is seen in a video. What a person's pack says about them is kept apart (`scores`), under the pack's
fingerprint, and `forgetting.erase_person` erases it.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.registry.names import bare
from pvchat_jax.timeline.windows import Window

INDEX_SUFFIX = ".sqlite"
_APPLICATION_ID = 0x70766978  # "pvix", which tells our files from other databases
_VERSION = 1  # of the tables; also raise it to have everything encoded anew
_WAIT_SECONDS = 60.0  # for another process that writes
_TABLES = """
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL);
CREATE INDEX files_by_content ON files (sha256);
CREATE TABLE videos (
    id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, viewing TEXT NOT NULL, origin REAL NOT NULL, clock_start REAL NOT NULL,
    "end" REAL NOT NULL, notes TEXT NOT NULL, is_complete INTEGER NOT NULL, UNIQUE (sha256, viewing)
);
CREATE TABLE windows (
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE, number INTEGER NOT NULL, run INTEGER NOT NULL, start REAL NOT NULL,
    "end" REAL NOT NULL, frame_times BLOB NOT NULL, shape TEXT NOT NULL, features BLOB NOT NULL, PRIMARY KEY (video, number)
);
CREATE TABLE scores (
    person TEXT NOT NULL, pack TEXT NOT NULL, video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    probability REAL NOT NULL, PRIMARY KEY (person, video, number)
) WITHOUT ROWID;
"""
_REMEDIES = {
    "SQLITE_FULL": "free some disk space and start the same command again to go on",
    "SQLITE_BUSY": "another process writes to it, so wait for that one to end",
    "SQLITE_READONLY": "choose another --index in a folder that can be written",
    "SQLITE_CANTOPEN": "choose another --index in a folder that can be written",
}


class IndexUnusable(UserError):
    """An index that is damaged, locked, of another version, or cannot be written."""


class KnownFile(NamedTuple):
    """A file as it was when it was last read."""

    size: int
    mtime_ns: int
    sha256: str


class KnownVideo(NamedTuple):
    """What the index knows of a content, looked at in one way.

    Attributes:
      origin: time of the first frame, in seconds of the container's clock. end: until when the last frame is on screen, as far as indexed.
      notes: what is wrong with the video. is_complete: False where indexing was interrupted.
    """

    id: int
    origin: float
    clock_start: float
    end: float
    notes: tuple[str, ...]
    is_complete: bool


class KnownWindow(NamedTuple):
    """A window without its features; times as in `windows.Window`."""

    number: int
    run: int
    start: float
    end: float
    frame_times: tuple[float, ...]


class Index:
    """An open index, made if need be. For one thread at a time; processes may share it.

    Raises, here and in its methods:
      IndexUnusable: the file is none of ours, damaged, of another version, locked, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        execute = self._database.execute
        execute("PRAGMA page_size = 16384")
        execute("PRAGMA auto_vacuum = INCREMENTAL")
        execute("PRAGMA secure_delete = ON")  # what was erased is overwritten
        execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            version = execute("PRAGMA user_version").fetchone()[0]
            is_empty = not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version == 0 and is_empty:
                for statement in _TABLES.strip().split(";\n"):
                    execute(statement)
                execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise IndexUnusable(f"{self.path} is no index of this version of pvchat_jax; choose another --index, or delete that file.")

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
            remedy = _REMEDIES.get(kind, "it is damaged, so delete it to have the videos encoded anew")
            raise IndexUnusable(f"the index {self.path} cannot be used ({error}); {remedy}.") from error
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise IndexUnusable(f"the index {self.path} cannot be made ({error.strerror}); choose another --index.") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._errors():
            return self._database.execute(query, values).fetchall()

    def file(self, path: str) -> KnownFile | None:
        rows = self._rows("SELECT size, mtime_ns, sha256 FROM files WHERE path = ?", path)
        return KnownFile(*rows[0]) if rows else None

    def paths_below(self, folder: str) -> list[str]:
        """The known files in a folder and in those inside it."""
        start = folder.rstrip("/") + "/"
        return [path for (path,) in self._rows("SELECT path FROM files WHERE substr(path, 1, ?) = ?", len(start), start)]

    def put_file(self, path: str, file: KnownFile) -> None:
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (path, *file))

    def drop_files(self, paths: Iterable[str]) -> None:
        """Forgets files, and all that was kept of contents which no known file has."""
        with self._transaction():
            self._database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])
            self._database.execute("DELETE FROM videos WHERE sha256 NOT IN (SELECT sha256 FROM files)")
        self._shrink()

    def video(self, sha256: str, viewing: str) -> KnownVideo | None:
        rows = self._rows(
            'SELECT id, origin, clock_start, "end", notes, is_complete FROM videos WHERE sha256 = ? AND viewing = ?', sha256, viewing
        )
        return next((KnownVideo(*values, tuple(json.loads(notes)), bool(done)) for *values, notes, done in rows), None)

    def add_windows(
        self, sha256: str, viewing: str, video: KnownVideo, windows: Sequence[Window], features: Sequence[np.ndarray]
    ) -> KnownVideo:
        """Writes a chunk of windows and how far the video is now, in one transaction.

        Args:
          video: as it is to stand there; its `id` counts for nothing, since content and viewing say which one it is.
          features: float[N, L, D] of each window, kept as float16.
        """
        with self._transaction():
            execute = self._database.execute
            state = (video.origin, video.clock_start, video.end, json.dumps(video.notes), video.is_complete)
            execute(
                'INSERT INTO videos (sha256, viewing, origin, clock_start, "end", notes, is_complete) VALUES (?, ?, ?, ?, ?, ?, ?) '
                'ON CONFLICT (sha256, viewing) DO UPDATE SET "end" = max("end", excluded."end"), notes = excluded.notes, '
                "is_complete = max(is_complete, excluded.is_complete)",  # another process may be ahead
                (sha256, viewing, *state),
            )
            id = execute("SELECT id FROM videos WHERE sha256 = ? AND viewing = ?", (sha256, viewing)).fetchone()[0]
            for window, array in zip(windows, features, strict=True):
                half = np.ascontiguousarray(array, np.float16)
                times = np.array(window.frame_times, np.float64).tobytes()
                values = (id, window.number, window.run, window.start, window.end, times, json.dumps(half.shape), half.tobytes())
                execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return video._replace(id=id)

    def drop_video(self, sha256: str, viewing: str) -> None:
        """Forgets what was encoded of a content."""
        with self._transaction():
            self._database.execute("DELETE FROM videos WHERE sha256 = ? AND viewing = ?", (sha256, viewing))
        self._shrink()

    def windows(self, video: int) -> list[KnownWindow]:
        """In order of time."""
        rows = self._rows('SELECT number, run, start, "end", frame_times FROM windows WHERE video = ? ORDER BY number', video)
        return [KnownWindow(*row, tuple(np.frombuffer(times, np.float64).tolist())) for *row, times in rows]

    def last_window(self, video: int) -> tuple[int, int] | None:
        """Number and run of the last window."""
        rows = self._rows("SELECT number, run FROM windows WHERE video = ? ORDER BY number DESC LIMIT 1", video)
        return rows[0] if rows else None

    def features(self, video: int, numbers: Sequence[int]) -> list[np.ndarray]:
        """float16[N, L, D] of windows of a video."""
        found = []
        for number in numbers:
            rows = self._rows("SELECT shape, features FROM windows WHERE video = ? AND number = ?", video, number)
            try:
                shape, content = rows[0]
                found.append(np.frombuffer(content, np.float16).reshape(json.loads(shape)))
            except (IndexError, ValueError) as error:
                raise IndexUnusable(f"the index {self.path} is damaged ({error}); delete it to have the videos encoded anew.") from error
        return found

    def scores(self, person: str, pack: str, video: int) -> dict[int, float]:
        """The probabilities that the person's pack gave before, by number of window."""
        return dict(self._rows("SELECT number, probability FROM scores WHERE person = ? AND pack = ? AND video = ?", person, pack, video))

    def put_scores(self, person: str, pack: str, video: int, scores: dict[int, float]) -> None:
        """Keeps what the pack said; what an earlier pack of the person said about the same windows goes."""
        with self._transaction():
            rows = [(person, pack, video, *score) for score in scores.items()]
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", rows)

    def erase_person(self, person: str) -> int:
        """Erases what packs said about a person; returns how many rows that were."""
        with self._transaction():
            count = self._database.execute("DELETE FROM scores WHERE person = ?", (person,)).rowcount
        self._shrink()
        return count

    def _shrink(self) -> None:
        """Gives the space of what was deleted back to the disk."""
        with self._errors():
            self._database.execute("PRAGMA incremental_vacuum").fetchall()


def person_key(name: str) -> str:
    """How the index calls a person, the same for all spellings."""
    return bare(name).casefold()


def is_index(path: Path) -> bool:
    """Whether a file is an index, of any version, by what an SQLite file says about itself."""
    with open(path, "rb") as file:
        header = file.read(72)
    return header.startswith(b"SQLite format 3\0") and header[68:72] == _APPLICATION_ID.to_bytes(4, "big")


def printable(text: object) -> str:
    """A path, or a sentence with one, in which bytes that are no UTF-8 are written out, for they cannot be stored or printed."""
    return os.fsencode(str(text)).decode("utf-8", "backslashreplace")
