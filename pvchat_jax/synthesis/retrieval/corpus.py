"""An index of the faces in a folder of pictures and videos that the user names: other people, for negatives."""

import bisect
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Face, FaceReader
from pvchat_jax.synthesis.records import SetAside, sha256_of
from pvchat_jax.synthesis.retrieval.corpus_index import IndexFiles, Line, index_place, locked, open_index
from pvchat_jax.synthesis.retrieval.retrieval import look_alikes, similarities, strangers
from pvchat_jax.synthesis.watch.pictures import PICTURES, VIDEOS, Pictures, read_pictures

STAGE = "corpus"  # in `SetAside.stage`
_BATCH = 16  # frames that the reader gets at a time

Progress = Callable[[int, int], None]
_Values = dict[str, Any]  # of a line of the index


class CorpusFace(NamedTuple):
    """A face of the corpus.

    Attributes:
      file: absolute path of a picture or video. sha256: of that file when it was indexed.
      frame: number of the video's frame, 0 for a picture; `pictures.read_frame(file, frame)` reads it.
      box: left, top, right, bottom in pixels of the upright frame in full size.
      similarity: to the embedding that was asked for.
      row: of `Corpus.embeddings`.
    """

    file: Path
    sha256: str
    frame: int
    box: tuple[float, float, float, float]
    similarity: float
    row: int


class Corpus:
    """An index that is open for search.

    Attributes:
      reader: name of the reader whose embeddings these are.
      embeddings: float32[N, D] of length 1, mapped from the file; one row for each person of each file.
    """

    def __init__(self, index: IndexFiles) -> None:
        self.reader = index.reader
        self._index = index
        starts, first_rows, num_rows = [], [], 0
        for line in index.lines():
            if line.values["faces"]:
                starts.append(line.start)
                first_rows.append(line.first_row)
                num_rows = line.last_row
        self._starts, self._first_rows = np.array(starts, np.int64), np.array(first_rows, np.int64)
        self.embeddings = index.embeddings(num_rows)

    def __len__(self) -> int:
        return len(self.embeddings)

    def nearest(self, embedding: np.ndarray, count: int, band: tuple[float, float]) -> list[CorpusFace]:
        """At most `count` look-alikes of the subject, most alike first, each another person.

        Args:
          embedding: of the subject, float32[D] of length 1, by the same reader.
          band: `(reader.alike, reader.same_person)`; see `retrieval.look_alikes`.
        """
        similarity = self._similarity(embedding)
        return self._faces(look_alikes(self.embeddings, similarity, count, band), similarity)

    def strangers(self, embedding: np.ndarray, count: int, band: tuple[float, float], rng: np.random.Generator) -> list[CorpusFace]:
        """At most `count` people who are not alike, drawn at random, each another person; otherwise as `nearest`."""
        similarity = self._similarity(embedding)
        return self._faces(strangers(self.embeddings, similarity, count, band, rng), similarity)

    def set_aside(self) -> Iterator[SetAside]:
        """The files that could not be used, with the reasons."""
        for line in self._index.lines():
            if line.values["set_aside"]:
                yield SetAside(item=line.values["file"], stage=STAGE, reason=line.values["set_aside"])

    def _similarity(self, embedding: np.ndarray) -> np.ndarray:
        if len(self) and embedding.shape != (self._index.dimension,):
            raise ValueError(f"the embedding has shape {embedding.shape}, those of {self.reader} have ({self._index.dimension},)")
        return similarities(self.embeddings, np.asarray(embedding, np.float32)[None])[0]

    def _faces(self, rows: Sequence[int], similarity: np.ndarray) -> list[CorpusFace]:
        faces = []
        for row in rows:
            number = bisect.bisect_right(self._first_rows, row) - 1
            values = self._index.values_at(self._starts[number])
            face = values["faces"][row - self._first_rows[number]]
            path = Path(self._index.folder, values["file"])
            faces.append(CorpusFace(path, values["sha256"], face["frame"], tuple(face["box"]), float(similarity[row]), row))
        return faces


def build_corpus(folder: Path, reader: FaceReader, out: Path, progress: Progress | None = None) -> Corpus:
    """Indexes the faces of a folder, or brings an index up to date; files whose content was indexed before are not read again.

    An interrupted call can be made again and goes on. Faces of files that are no longer there leave the index. Broken files and
    files without a usable face are set aside (`Corpus.set_aside`).

    Args:
      folder: pictures and videos, also in folders inside it.
      reader: finds and describes the faces; each reader has an index of its own in `out`.
      out: folder of the indices, made if need be. Processes that build the same index wait for each other.
      progress: called with (finished files, all files) at the start and after each few files.

    Raises:
      UserError: `folder` is none or has neither pictures nor videos, or `out` belongs to another folder.
    """
    folder, out = Path(folder).resolve(), Path(out).resolve()
    if not folder.is_dir():
        raise UserError(f"the corpus {folder} is no folder; name one that holds pictures or videos of other people.")
    files = _files_of(folder, out)
    if not files:
        raise UserError(f"the corpus {folder} has neither pictures nor videos; name a folder that holds some of other people.")
    with locked(index_place(out, reader.name)):
        index = _claim(folder, reader, out)
        index.cut()
        known, gone = _known_lines(index)
        pending = {name: stat for name, stat in files.items() if name not in known or not _is_unchanged(known[name], stat)}
        gone += [line.start for name, line in known.items() if name not in files or name in pending]
        builder = _Builder(folder, reader, index, {line.values["sha256"]: line for line in known.values() if line.values["sha256"]})
        builder.add(pending, lambda done: progress(len(files) - len(pending) + done, len(files)) if progress else None)
        return Corpus(builder.index.without(gone) if gone else builder.index)


def _files_of(folder: Path, out: Path) -> dict[str, os.stat_result]:
    """Pictures and videos by path relative to the folder, in order; hidden ones and our own files are left out."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(place, name) != out)
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in PICTURES | VIDEOS and not name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # a link to nowhere
                    found[path.relative_to(folder).as_posix()] = path.stat()
    return found


def _claim(folder: Path, reader: FaceReader, out: Path) -> IndexFiles:
    index = open_index(out, reader.name)
    if index is None or not Path(index.folder).exists():  # moved as a whole, it keeps its faces
        index = (index or IndexFiles(index_place(out, reader.name), reader.name, ""))._replace(folder=str(folder))
        index.write_about()
    if index.folder != str(folder):
        raise UserError(f"{index.place} is the index of {index.folder}, not of {folder}; choose another folder for the index.")
    return index


def _known_lines(index: IndexFiles) -> tuple[dict[str, Line], list[int]]:
    """The last line of each file by name, and where older lines start, which an interruption left over."""
    known: dict[str, Line] = {}
    replaced = []
    for line in index.lines():
        name = line.values["file"]
        if name in known:
            replaced.append(known[name].start)
        # The boxes of a million faces need not be in memory.
        known[name] = line._replace(values={**line.values, "faces": range(len(line.values["faces"]))})
    return known, replaced


def _is_unchanged(line: Line, stat: os.stat_result) -> bool:
    return (line.values["size"], line.values["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)


class _Builder:
    """Adds files to an index. `by_content` has the known lines by digest of their files."""

    def __init__(self, folder: Path, reader: FaceReader, index: IndexFiles, by_content: Mapping[str, Line]) -> None:
        self.index = index
        self._folder = folder
        self._reader = reader
        self._by_content = by_content

    def add(self, files: Mapping[str, os.stat_result], report: Callable[[int], None]) -> None:
        """Adds all `files`, in their order; `report` is called with how many are done."""
        report(0)
        batch: list[tuple[_Values, Pictures]] = []
        for done, (name, stat) in enumerate(files.items(), start=1):
            values: _Values = {"file": name, "sha256": "", "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "faces": [], "set_aside": ""}
            pictures = self._read(values)
            if pictures:
                batch.append((values, pictures))
            if done == len(files) or sum(len(pictures.frames) for _, pictures in batch) >= _BATCH:
                self._find_faces(batch)
                batch = []
                report(done)

    def _read(self, values: _Values) -> Pictures | None:
        """The frames of a file whose faces are still to be found; None where its line is written already."""
        path = self._folder / values["file"]
        try:
            values["sha256"] = sha256_of(path)
            known = self._by_content.get(values["sha256"])
            if known is None:
                return read_pictures(path)
        except (UserError, OSError) as error:
            self.index.append([({**values, "set_aside": str(error)}, np.empty((0, self.index.dimension)))])
            return None
        old = self.index.values_at(known.start)
        rows = self.index.embeddings(known.last_row)[known.first_row :]
        self.index.append([({**values, "faces": old["faces"], "set_aside": old["set_aside"]}, rows)])
        return None

    def _find_faces(self, batch: Sequence[tuple[_Values, Pictures]]) -> None:
        found = iter(self._reader.read([frame for _, pictures in batch for frame in pictures.frames])) if batch else iter(())
        entries = []
        for values, pictures in batch:
            faces = _people(pictures, [next(found) for _ in pictures.frames], self._reader)
            if not faces:
                values = {
                    **values,
                    "set_aside": f"{self._folder / values['file']} shows no face of at least {self._reader.fewest_pixels} pixels.",
                }
            described = [{"box": face.box, "score": float(face.score), "frame": frame} for frame, face in faces]
            entries.append(({**values, "faces": described}, np.array([face.embedding for _, face in faces], np.float32)))
        dimension = next((rows.shape[1] for _, rows in entries if len(rows)), 0)
        if dimension and not self.index.dimension:
            self.index = self.index._replace(dimension=dimension)
            self.index.write_about()
        self.index.append(entries)


def _people(pictures: Pictures, found: Sequence[Sequence[Face]], reader: FaceReader) -> list[tuple[int, Face]]:
    """The best face of each person in a file with the number of its frame; boxes are those of the file in full size."""
    faces = [(index, face) for index, faces in zip(pictures.indices, found, strict=True) for face in faces]
    people: list[tuple[int, Face]] = []
    for index, face in sorted(faces, key=lambda found: -found[1].score):
        box = tuple(round(float(side) * pictures.scale, 1) for side in face.box)
        large = min(box[2] - box[0], box[3] - box[1]) >= reader.fewest_pixels
        new = all(face.embedding @ other.embedding < reader.same_person for _, other in people)
        if large and new and np.all(np.isfinite(face.embedding)):
            people.append((index, face._replace(box=box)))
    return people
