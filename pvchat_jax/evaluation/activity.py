"""Which routed attention heads are on in videos with the subject and in videos without."""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadActivity:
    """Share of a video's (clip, token) pairs for which a routed head's gate is above zero, averaged over videos.

    Attributes:
      present, absent: by routed module (`6.self`), one share in [0, 1] per routed head; empty without such videos.
      num_present, num_absent: videos behind them.
      num_shared_heads: heads that come before the routed ones and are always on.
    """

    present: Mapping[str, tuple[float, ...]]
    absent: Mapping[str, tuple[float, ...]]
    num_present: int
    num_absent: int
    num_shared_heads: int


class ActivityMeter:
    """Averages the shares of one video after another."""

    def __init__(self) -> None:
        self._sums: dict[bool, dict[str, np.ndarray]] = {True: {}, False: {}}
        self._counts = collections.Counter[bool]()

    def add(self, shares: Mapping[str, np.ndarray], *, present: bool) -> None:
        """Counts one video with `shares`, by module: float[R]."""
        self._counts[present] += 1
        for module, share in shares.items():
            self._sums[present][module] = self._sums[present].get(module, 0.0) + np.asarray(share, np.float64)

    def activity(self, num_shared_heads: int) -> HeadActivity:
        """The averages of all videos so far, rounded to four digits."""
        present, absent = (
            {module: tuple(np.round(total / self._counts[kind], 4).tolist()) for module, total in self._sums[kind].items()}
            for kind in (True, False)
        )
        return HeadActivity(
            present=present,
            absent=absent,
            num_present=self._counts[True],
            num_absent=self._counts[False],
            num_shared_heads=num_shared_heads,
        )
