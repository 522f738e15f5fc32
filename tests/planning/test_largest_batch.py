"""The search for the largest batch, against a machine whose memory is known."""

import pytest

from pvchat_jax.planning.largest_batch import largest_batch


class Machine:
    """Fits `hbm` bytes; a step takes `fixed` and `each` for every video, and compilations are counted."""

    def __init__(self, fixed: int, each: int, hbm: int) -> None:
        self.fixed, self.each, self.hbm = fixed, each, hbm
        self.compilations = 0

    def peak_of(self, batch: int) -> int | None:
        self.compilations += 1
        peak = self.fixed + self.each * batch
        return peak if peak <= self.hbm else None


@pytest.mark.parametrize(
    ("fixed", "each", "batch", "largest"),
    [(100, 10, 16, 88), (100, 10, 8, 88), (900, 10, 16, 8), (0, 40, 16, 24), (0, 60, 16, 16), (2000, 1, 16, 0), (100, 100, 8, 8)],
)
def test_finds_the_largest_multiple_in_few_compilations(fixed: int, each: int, batch: int, largest: int) -> None:
    machine = Machine(fixed, each, 1000)
    assert largest_batch(machine.peak_of, batch, 8, machine.hbm) == largest
    assert machine.compilations <= 4


def test_what_is_promised_is_also_tried() -> None:
    """Memory that grows faster than a line: the promise does not fit, and the answer does."""

    def peak_of(batch: int) -> int | None:
        peak = 100 + batch**2 // 10
        return peak if peak <= 1000 else None

    found = largest_batch(peak_of, 16, 8, 1000)
    assert peak_of(found) is not None
    assert found >= 32
