"""The clips that are to be made, one slot each: who appears in it, for which split, and through which generator."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

from pvchat_jax.synthesis.people.casting import Member
from pvchat_jax.synthesis.stages import digest_of, seed_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slot:
    """A place in the set that one clip will fill.

    Attributes:
      split: `train` or `calibration`. number: from 0; the positive and the negative of a number share generator and prompt, so that
        neither tells them apart.
      member: who appears. generator: index of the generator.
      counterpart: of a positive, the negative of its number, if there is one.
    """

    split: str
    number: int
    member: Member
    generator: int
    counterpart: "Slot | None" = None

    @property
    def role(self) -> str:
        """Of the clip."""
        return self.member.role

    @functools.cached_property
    def key(self) -> str:
        """What tells it from all others."""
        return digest_of([self.split, self.number, self.role, self.member.digest, self.generator])

    @property
    def owned_by(self) -> str:
        """What decides which worker fills it: the one that fills its counterpart."""
        return self.counterpart.key if self.counterpart else self.key

    def seed(self, seed: int, attempt: int) -> int:
        """Of the pixels."""
        return seed_of(seed, "pixels", self.key, attempt)

    def prompt_seed(self, seed: int, attempt: int) -> int:
        """Of the prompt, equal for the positive and the negative of a number."""
        return seed_of(seed, "prompt", self.split, self.number, attempt)


def plan_slots(
    subject: Member, others: Sequence[Member], counts: Mapping[str, int], *, num_generators: int, hard_share: float
) -> list[Slot]:
    """Half of the clips of each split with the subject, half with others, who take turns.

    Without others there are no negatives. A split without people of its own borrows those of train.

    Args:
      counts: clips by split.
    """
    slots = []
    for split, count in counts.items():
        own = [member for member in others if member.split == split] or [member for member in others if member.split == "train"]
        pools = {role: [member for member in own if member.role == role] for role in ("hard_negative", "easy_negative")}
        used = dict.fromkeys(pools, 0)
        for number in range(count // 2):
            generator = number % num_generators
            is_hard = math.floor((number + 1) * hard_share) > math.floor(number * hard_share)
            wanted, other = ("hard_negative", "easy_negative") if is_hard else ("easy_negative", "hard_negative")
            role = wanted if pools[wanted] else other
            counterpart = None
            if pools[role]:
                member = pools[role][used[role] % len(pools[role])]
                used[role] += 1
                counterpart = Slot(split=split, number=number, member=member, generator=generator)
            positive = Slot(split=split, number=number, member=subject, generator=generator, counterpart=counterpart)
            slots += [positive, counterpart] if counterpart else [positive]
    return slots
