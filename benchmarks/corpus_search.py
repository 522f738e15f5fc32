"""Measures the index of a corpus at many faces: time to build and to open it, time of a search, and memory.

    python benchmarks/corpus_search.py                     # 100,000 faces, half a minute
    python benchmarks/corpus_search.py --faces=1000000     # 2 GB of embeddings

The faces are random embeddings of length 512, read off tiny pictures of eight faces each, so the times are those of everything but
the reader's network. Prints a table.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.retrieval.corpus import build_corpus
from pvchat_jax.synthesis.retrieval.retrieval import similarities

DIMENSION = 512
_FACES_PER_PICTURE = 8
_SIDE = 48  # pixels of a picture
_PEOPLE = 100  # faces cluster around this many directions, or no two random ones would be alike
_NUM_LOOK_ALIKES = 20
_REPEATS = 7


class RandomReader:
    """Finds eight faces in any frame; the embedding is drawn."""

    name = "random embeddings"
    same_person = 0.6
    alike = 0.3
    fewest_pixels = _SIDE
    quality_note = ""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._people = self._rng.normal(size=(_PEOPLE, DIMENSION)).astype(np.float32)

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of random people, each a little unlike all others of that person's kin."""
        return [[self._face() for _ in range(_FACES_PER_PICTURE)] for _ in frames]

    def _face(self) -> Face:
        embedding = self._people[self._rng.integers(_PEOPLE)] + 1.2 * self._rng.normal(size=DIMENSION).astype(np.float32)
        return Face((0.0, 0.0, _SIDE, _SIDE), None, 1.0, (embedding / np.linalg.norm(embedding)).astype(np.float32))


def measure(num_faces: int, folder: Path) -> dict[str, str]:
    """What was measured, as words for a table."""
    reader = RandomReader()
    num_pictures = -(-num_faces // _FACES_PER_PICTURE)
    for number in range(num_pictures):  # of different contents, or they would be read once
        picture = np.frombuffer(number.to_bytes(_SIDE * _SIDE * 3), np.uint8).reshape(_SIDE, _SIDE, 3)
        Image.fromarray(picture).save(folder / f"{number:07d}.png", compress_level=1)
    empty = _peak_megabytes()
    build = _seconds(lambda: build_corpus(folder, reader, folder / "index"))
    built = _peak_megabytes()
    reopen = _seconds(lambda: build_corpus(folder, reader, folder / "index"))
    corpus = build_corpus(folder, reader, folder / "index")
    band = (reader.alike, reader.same_person)
    queries = np.concatenate([[face.embedding for face in reader.read([None])[0]] for _ in range(13)])  # type: ignore[list-item]
    similarities(corpus.embeddings, queries[:1])  # the pages of the file are in memory from here on
    found = corpus.nearest(queries[0], _NUM_LOOK_ALIKES, band)
    rows = {
        "faces": f"{len(corpus):,} of {num_pictures:,} pictures",
        "embeddings on disk": f"{corpus.embeddings.nbytes / 1e6:.0f} MB",
        "build": f"{build:.1f} s, {1e6 * build / len(corpus):.0f} µs a face",
        "build again, nothing new": f"{reopen:.2f} s",
        "peak memory of the build": f"{built:.0f} MB, {empty:.0f} MB of it before",
        f"{len(found)} look-alikes of 1 person": _milliseconds(lambda: corpus.nearest(queries[0], _NUM_LOOK_ALIKES, band)),
        "20 strangers to 1 person": _milliseconds(lambda: corpus.strangers(queries[0], 20, band, np.random.default_rng(0))),
    }
    for number in (1, 10, 100):
        rows[f"similarities to {number}"] = _milliseconds(lambda number=number: similarities(corpus.embeddings, queries[:number]))
    rows["peak memory at the end, with the mapped pages"] = f"{_peak_megabytes():.0f} MB"
    return rows


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _milliseconds(work: Callable[[], object]) -> str:
    times = sorted(1e3 * _seconds(work) for _ in range(_REPEATS))
    return f"{times[_REPEATS // 2]:.1f} ms ({times[0]:.1f} to {times[-1]:.1f})"


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000, help="number of embeddings")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(parser.parse_args().faces, Path(folder))
    print("| what | measured |\n| --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
