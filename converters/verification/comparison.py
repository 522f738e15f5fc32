"""One recorded array beside ours: how far apart they are and how far they may be."""

import dataclasses
from typing import Any

import numpy as np

AGREES, DIFFERS, NOT_COMPARED = "agrees", "differs", "not compared"


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest error that an entry may have: the sum of these parts.

    Attributes:
      of_maximum: share of the largest absolute recorded value.
      of_each: share of the entry's own absolute recorded value.
      absolute: the same for every entry.
    """

    of_maximum: float = 0.0
    of_each: float = 0.0
    absolute: float = 0.0

    def bound(self, expected: np.ndarray) -> np.ndarray:
        """float64 of `expected`'s shape."""
        size = np.abs(expected)
        # an array of zeros still has a largest value that rounding may reach
        largest = max(np.max(size, initial=0.0), 1e-30)
        return self.of_maximum * largest * np.ones_like(size) + self.of_each * size + self.absolute

    def __str__(self) -> str:
        parts = {"of max": self.of_maximum, "of each": self.of_each, "absolute": self.absolute}
        return " + ".join(f"{value:g} {name}" for name, value in parts.items() if value) or "exact"


# Measured on the goldens: the original on two versions of its libraries agrees with itself within 2e-6 of the maximum.
FORWARD = Tolerance(of_maximum=2e-5)
GRADIENT = Tolerance(of_maximum=1e-4)
EXACT = Tolerance()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The row of one recorded array.

    Attributes:
      stage: its name in the recording.
      verdict: AGREES, DIFFERS or NOT_COMPARED.
      shape: as recorded.
      max_error: largest absolute difference; None where nothing was compared.
      relative_error: `max_error` over the largest absolute recorded value.
      tolerance: what was allowed, in words.
      note: why there is no comparison, or what else is wrong.
    """

    stage: str
    verdict: str
    shape: tuple[int, ...]
    max_error: float | None = None
    relative_error: float | None = None
    tolerance: str = ""
    note: str = ""


def compare(stage: str, actual: Any, expected: np.ndarray, tolerance: Tolerance = FORWARD) -> Comparison:
    """Compares entry by entry; other shapes, and values that are no finite numbers, never agree."""
    shape = tuple(np.shape(expected))
    if np.asarray(expected).dtype.kind not in "fiub":
        return Comparison(stage, DIFFERS, shape, tolerance=str(tolerance), note=f"recorded as {np.asarray(expected).dtype}")
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        return Comparison(stage, DIFFERS, shape, tolerance=str(tolerance), note=f"ours has shape {actual.shape}")
    with np.errstate(invalid="ignore"):
        error = np.abs(actual - expected)
    agrees = bool(np.all(error <= tolerance.bound(expected)))
    max_error, largest = float(np.max(error, initial=0.0)), float(np.max(np.abs(expected), initial=0.0))
    relative = max_error / largest if largest else (0.0 if max_error == 0 else np.inf)
    note = "" if np.isfinite(max_error) else "a value is not finite"
    return Comparison(stage, AGREES if agrees else DIFFERS, shape, max_error, float(relative), str(tolerance), note)


def compare_names(stage: str, actual: Any, expected: Any, *, ordered: bool) -> Comparison:
    """Compares lists of names: as sequences, or as sets."""
    ours, theirs = [str(name) for name in actual], [str(name) for name in expected]
    equal = ours == theirs if ordered else set(ours) == set(theirs)
    lacking, extra = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    note = "" if equal else f"recorded only: {lacking[:3]}, ours only: {extra[:3]}" if lacking or extra else "in another order"
    return Comparison(stage, AGREES if equal else DIFFERS, (len(theirs),), tolerance=str(EXACT), note=note)


def not_compared(stage: str, array: np.ndarray, reason: str) -> Comparison:
    return Comparison(stage, NOT_COMPARED, tuple(np.shape(array)), note=reason)
