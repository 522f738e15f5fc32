"""Attempts at the clips of slots: what each is to show, and which clip of somebody else it is to be like."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pvchat_jax.synthesis.generators.generator import Counterpart, Prompt
from pvchat_jax.synthesis.making.slots import Slot


class Take(NamedTuple):
    """One attempt.

    Attributes:
      attempt: from 0. seed: of the pixels.
      counterpart: the take that passed for the slot's counterpart; None if it has none.
    """

    slot: Slot
    attempt: int
    seed: int
    prompt: Prompt
    counterpart: Counterpart | None


def plan_take(slot: Slot, attempt: int, passed: Mapping[str, int], seed: int, prompt_of: Callable[[np.random.Generator], Prompt]) -> Take:
    """What an attempt at a slot is to be; with a counterpart all attempts are like the same take of that.

    Args:
      passed: by key of slots without counterpart, number of the attempt that passed, or of the last one if none did.
      seed: of everything. prompt_of: the prompt that follows from a random generator.
    """
    other = slot.counterpart
    shown = attempt if other is None else passed[other.key]
    counterpart = None if other is None else Counterpart(other.member.source.sha256, other.seed(seed, shown))
    prompt = prompt_of(np.random.default_rng(slot.prompt_seed(seed, shown)))
    return Take(slot, attempt, slot.seed(seed, attempt), prompt, counterpart)
