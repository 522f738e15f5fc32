"""Exact search among embeddings that lie in a file: the subject's look-alikes, and people who are not alike.

numpy suffices: one query among 100,000 embeddings takes some milliseconds (benchmarks/corpus_search.py), and it finds what a flat
index of faiss finds, without a second copy in memory.
"""

from collections.abc import Iterable

import numpy as np

_BLOCK = 8192  # rows multiplied at a time: of 512 numbers, 16 MB of the mapped file
_CANDIDATES = 256  # rows compared with the subject's other pictures at a time


def similarities(embeddings: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Cosine similarity of each query to each embedding, float32[Q, N].

    Args:
      embeddings: float32[N, D] of length 1, in memory or mapped; it is read once, in blocks.
      queries: float32[Q, D] of length 1.
    """
    result = np.empty((len(queries), len(embeddings)), np.float32)
    for start in range(0, len(embeddings), _BLOCK):
        block = embeddings[start : start + _BLOCK]
        np.matmul(queries, block.T, out=result[:, start : start + len(block)])
    return result


def look_alikes(embeddings: np.ndarray, similarity: np.ndarray, count: int, band: tuple[float, float]) -> list[int]:
    """Rows of the people most like the subject, most alike first; at most `count`, one row of each person.

    Args:
      embeddings: float32[N, D] of length 1.
      similarity: of each row to the subject, float32[N].
      band: look-alikes have a similarity from `band[0]` on and below `band[1]`, from which on two faces are one person. Rows below
        `band[1]` which are one person with a row that is the subject are bad pictures of the subject, and left out.
    """
    rows = np.flatnonzero((similarity >= band[0]) & (similarity < band[1]))
    order = np.lexsort((rows, -similarity[rows]))  # equal ones in order of the file
    return _different_people(embeddings, rows[order], _known_pictures(embeddings, similarity, band[1]), count, band[1])


def strangers(embeddings: np.ndarray, similarity: np.ndarray, count: int, band: tuple[float, float], rng: np.random.Generator) -> list[int]:
    """Rows of people less like the subject than `band[0]`, drawn at random; otherwise as `look_alikes`."""
    rows = rng.permutation(np.flatnonzero(similarity < band[0]))
    return _different_people(embeddings, rows, _known_pictures(embeddings, similarity, band[1]), count, band[1])


def _known_pictures(embeddings: np.ndarray, similarity: np.ndarray, same_person: float) -> np.ndarray:
    return np.asarray(embeddings[np.flatnonzero(similarity >= same_person)])


def _different_people(embeddings: np.ndarray, rows: np.ndarray, subject: np.ndarray, count: int, same_person: float) -> list[int]:
    """The first `count` of `rows` that are one person neither with a picture of the subject nor with an earlier one."""
    chosen: list[int] = []
    people = np.empty((count, embeddings.shape[1]), np.float32)
    for row, embedding in _not_alike(embeddings, rows, subject, same_person):
        if len(chosen) == count:
            break
        if not np.any(people[: len(chosen)] @ embedding >= same_person):
            people[len(chosen)] = embedding
            chosen.append(row)
    return chosen


def _not_alike(embeddings: np.ndarray, rows: np.ndarray, others: np.ndarray, same_person: float) -> Iterable[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), _CANDIDATES):
        some = rows[start : start + _CANDIDATES]
        found = np.asarray(embeddings[some])
        different = np.all(found @ others.T < same_person, axis=1)
        yield from zip(some[different].tolist(), found[different], strict=True)
