"""Search among embeddings: exact, within the band, each person once, never the subject."""

import numpy as np
import pytest

from pvchat_jax.synthesis.retrieval import retrieval
from pvchat_jax.synthesis.retrieval.retrieval import look_alikes, similarities, strangers

BAND = (0.5, 0.8)
SUBJECT = np.eye(8, dtype=np.float32)[0]


def toward(axis: int, similarity: float, other: int = 7) -> np.ndarray:
    """A unit vector with this cosine to `axis`; what is left points along `other`."""
    vector = np.zeros(8, np.float32)
    vector[axis], vector[other] = similarity, np.sqrt(1 - similarity**2)
    return vector


def found(*embeddings: np.ndarray, count: int = 9) -> list[int]:
    array = np.stack(embeddings)
    return look_alikes(array, array @ SUBJECT, count, BAND)


def test_similarities_are_those_of_one_product_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    embeddings, queries = rng.normal(size=(23, 8)).astype(np.float32), rng.normal(size=(3, 8)).astype(np.float32)
    monkeypatch.setattr(retrieval, "_BLOCK", 5)
    np.testing.assert_allclose(similarities(embeddings, queries), queries @ embeddings.T, rtol=1e-5, atol=1e-6)


def test_look_alikes_come_most_alike_first_and_lie_in_the_band() -> None:
    rows = [toward(0, 0.6, 1), toward(0, 0.79, 2), toward(0, 0.49, 3), toward(0, 0.81, 4), toward(0, 0.7, 5)]
    assert found(*rows) == [1, 4, 0]
    assert found(*rows, count=2) == [1, 4]
    assert found(toward(0, 0.25)) == []


def test_each_person_is_found_once() -> None:
    assert found(toward(0, 0.7, 1), toward(0, 0.6, 2), toward(0, 0.69, 1)) == [0, 1]


def test_a_bad_picture_of_the_subject_is_no_look_alike() -> None:
    bad, good, somebody_else = toward(0, 0.75, 1), toward(0, 0.95, 1), toward(0, 0.7, 2)
    assert bad @ good >= BAND[1]
    assert found(bad, good, somebody_else) == [2]
    assert found(bad, somebody_else) == [0, 1]  # nothing tells that it is one


def test_strangers_are_drawn_below_the_band_and_the_same_for_one_seed() -> None:
    array = np.stack([toward(0, 0.9, 1), toward(0, 0.6, 1), *(toward(0, 0.2, axis) for axis in (2, 3, 4, 5, 2))])
    draws = [strangers(array, array @ SUBJECT, 9, BAND, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1] and len({tuple(draw) for draw in draws}) > 1
    for draw in draws:
        assert len(draw) == 4 and set(draw) <= {2, 3, 4, 5, 6} and not {2, 6} <= set(draw)
