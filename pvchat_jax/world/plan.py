"""What every video of a world shows, drawn from the world's seed before a pixel is painted.

A video's content depends on (seed, split, index) alone, so a world can grow, and an interrupted build can continue, without
touching what is there. Train and test stay apart because identities and (outfit, scene) pairs belong to one split each, by a hash.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from pvchat_jax.world.actions import ACTIONS, WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.people import Identity, Outfit, look_alike, pick, random_identity, random_outfit
from pvchat_jax.world.scenes import SCENES

SPLITS = ("train", "test")
POSITIONS = ("left", "centre", "right")
LOOK_ALIKE_DIFFERENCES = (2, 3)
SECOND_PERSON_PROBABILITY = 0.1
TEST_SHARE = 0.3  # of all identities and of all (outfit, scene) pairs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """One person in one video. `position` is where they stand; None for somebody who walks across."""

    identity: Identity
    outfit: Outfit
    action: str
    position: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """The exact content of one video.

    Attributes:
      seed: decides everything that no attribute names, such as the arrangement of the background.
      role: `positive`, `hard_negative` or `easy_negative` (data.records.ROLES).
      differences: attributes in which a look-alike differs from the subject.
      person: the subject, or who is there instead.
      bystander: a second person, never the subject.
    """

    split: str
    index: int
    seed: int
    role: str
    scene: str
    person: Person
    bystander: Person | None
    differences: tuple[str, ...]

    def truth(self) -> dict[str, Any]:
        """The plan as JSON values: `split`, `index`, `seed`, `scene`, `identity`, `outfit`, `action` and `position` of the person,
        `bystander` (null or the same four) and `differences`."""
        values = dataclasses.asdict(self)
        del values["role"]
        values |= values.pop("person")
        values["differences"] = list(self.differences)
        return values


def subject_identity(seed: int) -> Identity:
    """The person that the world of this seed is about."""
    return random_identity(np.random.default_rng([seed, 0]))


def split_of(seed: int, item: str) -> str:
    """The only split in which `item`, such as the text of an identity, may appear."""
    digest = hashlib.blake2b(f"{seed}/{item}".encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") < TEST_SHARE * 2**64 else "train"


def plan_video(seed: int, split: str, index: int) -> VideoPlan:
    """Draws video number `index` of a split.

    Even numbers show the subject; of the odd ones every other shows a look-alike and the rest a random other person.
    """
    rng = np.random.default_rng([seed, 1 + SPLITS.index(split), index])
    subject = subject_identity(seed)
    role = ("positive", "easy_negative", "positive", "hard_negative")[index % 4]
    identity = subject if role == "positive" else _other_identity(seed, split, rng, subject, alike=role == "hard_negative")
    scene = pick(rng, tuple(SCENES))
    has_bystander = rng.random() < SECOND_PERSON_PROBABILITY
    action, position = _draw_place(rng, has_bystander)
    person = Person(identity=identity, outfit=_draw_outfit(seed, split, scene, rng), action=action, position=position)
    bystander = None
    if has_bystander:
        bystander = Person(
            identity=_other_identity(seed, split, rng, subject, alike=False),
            outfit=_draw_outfit(seed, split, scene, rng),
            action=_draw_standing_action(rng),
            position="right" if person.position == "left" else "left",
        )
    return VideoPlan(
        split=split,
        index=index,
        seed=int(rng.integers(2**53)),
        role=role,
        scene=scene,
        person=person,
        bystander=bystander,
        differences=subject.differences(identity) if role == "hard_negative" else (),
    )


def _other_identity(seed: int, split: str, rng: np.random.Generator, subject: Identity, *, alike: bool) -> Identity:
    while True:
        identity = look_alike(subject, pick(rng, LOOK_ALIKE_DIFFERENCES), rng) if alike else random_identity(rng)
        too_near = not alike and len(subject.differences(identity)) <= max(LOOK_ALIKE_DIFFERENCES)
        if not too_near and split_of(seed, repr(identity)) == split:
            return identity


def _draw_outfit(seed: int, split: str, scene: str, rng: np.random.Generator) -> Outfit:
    while True:
        outfit = random_outfit(rng)
        if split_of(seed, f"{outfit}/{scene}") == split:
            return outfit


def _draw_standing_action(rng: np.random.Generator) -> str:
    return pick(rng, [action for action in ACTIONS if action not in (WALK_LEFT, WALK_RIGHT)])


def _draw_place(rng: np.random.Generator, has_bystander: bool) -> tuple[str, str | None]:
    """Action and position. Walking counts as one action; nobody walks, or stands in the centre, beside a bystander."""
    if has_bystander:
        return _draw_standing_action(rng), pick(rng, ("left", "right"))
    if rng.random() < 1 / (len(ACTIONS) - 1):
        return pick(rng, (WALK_LEFT, WALK_RIGHT)), None
    return _draw_standing_action(rng), pick(rng, POSITIONS)
