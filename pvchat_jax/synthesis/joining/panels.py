"""The clips of single people that joint clips are put together of, and which of them go together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.synthesis.records import Clip
from pvchat_jax.synthesis.stages import seed_of


class Panel(NamedTuple):
    """A clip that fills a part of the picture, or of the time.

    Attributes:
      name: who it is about. shown: whether they are seen in it.
      folder: that `clip.video` starts from.
      x: middle of the face, as a share of the clip's width.
    """

    name: str
    shown: bool
    folder: Path
    clip: Clip
    x: float


Pools = Mapping[str, Mapping[bool, Sequence[Panel]]]  # by name, those with the person and those with somebody else


def combination(number: int, names: Sequence[str]) -> frozenset[str]:
    """Who is there in the clip of a number: all combinations in turn."""
    return frozenset(name for bit, name in enumerate(names) if number >> bit & 1)


def choose_panels(pools: Pools, present: frozenset[str], *key: object) -> list[Panel]:
    """One panel for each person, in random order, drawn with the seed that follows from `key`."""
    rng = np.random.default_rng(seed_of("panels", *key))
    panels: list[Panel] = []
    for name, pool in pools.items():
        choices = pool[name in present]
        taken = {panel.clip.name for panel in panels}  # sets with one corpus have clips in common
        fresh = [choice for choice in choices if choice.clip.name not in taken] or choices
        panels.append(fresh[rng.integers(len(fresh))])
    return [panels[number] for number in rng.permutation(len(panels))]
