"""Random batches out of arrays in memory, with a position that a checkpoint can hold."""

from collections.abc import Callable
from typing import Any

import grain
import numpy as np

Batch = dict[str, np.ndarray]


class RandomBatches(grain.DatasetIterator[Batch]):
    """Endless batches; the `n`-th of them follows from the seed and `n` alone.

    Args:
      make: a batch from a random generator.
    """

    def __init__(self, make: Callable[[np.random.Generator], Batch], seed: int) -> None:
        super().__init__()
        self._make = make
        self._seed = seed
        self._next_batch = 0

    def __next__(self) -> Batch:
        rng = np.random.default_rng((self._seed, self._next_batch))
        self._next_batch += 1
        return self._make(rng)

    def get_state(self) -> dict[str, Any]:
        return {"next_batch": self._next_batch}

    def set_state(self, state: dict[str, Any]) -> None:
        self._next_batch = int(state["next_batch"])
