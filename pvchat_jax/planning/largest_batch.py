"""The largest batch whose step fits, found with few compilations: memory grows in a straight line with the batch."""

import functools
from collections.abc import Callable


def largest_batch(peak_of: Callable[[int], int | None], batch: int, multiple: int, hbm_bytes: int) -> int:
    """Largest batch that was tried and fits, in steps of `multiple`; 0 where not even one step does.

    Tries twice the batch, then what a line through the two peaks promises, then a little less if that was too much; where
    twice is too much already, the middle.

    Args:
      peak_of: peak bytes of a chip for a batch, None where it does not fit. Takes minutes each, so it is asked rarely.
      batch: a multiple of `multiple`, from where to start.
    """
    peak_of = functools.cache(peak_of)
    peak = peak_of(batch)
    while peak is None:
        if batch == multiple:
            return 0
        batch = max(batch // 2 // multiple, 1) * multiple
        peak = peak_of(batch)
    twice = peak_of(2 * batch)
    if twice is None:
        between = batch * 3 // 2 // multiple * multiple
        return between if peak_of(between) is not None else batch
    slope = max(twice - peak, 1) / batch
    promised = int(batch + (hbm_bytes - peak) / slope) // multiple * multiple
    for share in (1.0, 0.9):
        candidate = int(promised * share) // multiple * multiple
        if candidate <= 2 * batch:
            break
        if peak_of(candidate) is not None:
            return candidate
    return 2 * batch
