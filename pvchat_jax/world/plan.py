"""What every video of a world shows, drawn from the world's seed before a pixel is painted.

A video's content depends on (seed, split, index) alone, so a world can grow, and an interrupted build can continue, without
touching what is there. Train and test stay apart, over all worlds, because every stranger (`people.people_group`) and every
(outfit, scene) pair belongs to one side for good, by a hash. Look-alikes of training clips are invented around what was read of
the subject, whether or not tests may show such a person (`clip_set` of a personalisation leaves them out on demand).

The subject's reference video, the one video that a user has, is `reference_video`. Look-alikes wear what the subject wears there,
and differ from the subject in something that the video shows (`hidden_attributes`).
"""

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.data.records import ROLES
from pvchat_jax.world.actions import ACTIONS, WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.people import (
    IDENTITY_VALUES,
    Identity,
    Outfit,
    all_outfits,
    look_alike,
    people_group,
    pick,
    random_identity,
    random_outfit,
    share_of,
)
from pvchat_jax.world.scenes import SCENES

SPLITS = ("train", "calibration", "test")  # calibration is for thresholds: training's people and outfits, in other videos
REFERENCE = "reference"  # the split of the one reference video
POSITIONS = ("left", "centre", "right")
GRADES = (1, 2)  # attributes in which look-alikes differ
STRANGER = 0  # stands for a grade where somebody else is there,
SUBJECT = -1  # and this where the subject is
SECOND_PERSON_PROBABILITY = 0.15
BASE_SECOND_PERSON_PROBABILITY = 0.3
TEST_SHARE = 0.3  # of all (outfit, scene) pairs
_MIN_REFERENCE_SCENES = 2  # of tests and of the rest, in which the outfit of the reference video may be seen
_STREAMS = {"train": 1, "test": 2, REFERENCE: 3, "base": 4, "calibration": 5}


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


class Mix(NamedTuple):
    """What a split consists of.

    Attributes:
      turn: who is in the videos, in turn: the `SUBJECT`, look-alikes of a grade, or a `STRANGER`.
      reference_outfit: by role, the probability of wearing what the subject wears in the reference video.
    """

    turn: tuple[int, ...]
    reference_outfit: Mapping[str, float]


# Clothes say nothing in training about who it is. In tests there are as many strangers as look-alikes, who always wear the outfit of
# the reference video. The threshold between yes and no is chosen on the most difficult cases alone: what is right for them is right for
# strangers.
_TEST_OUTFIT = {"positive": 0.25, "hard_negative": 1.0, "easy_negative": 0.0}
MIXES: Mapping[str, Mix] = {
    "train": Mix((SUBJECT, 1, SUBJECT, 1, SUBJECT, 2, SUBJECT, 1, SUBJECT, STRANGER), dict.fromkeys(ROLES, 0.3)),
    "calibration": Mix((SUBJECT, 1), _TEST_OUTFIT),
    "test": Mix((SUBJECT, STRANGER, SUBJECT, 1, SUBJECT, STRANGER, SUBJECT, 2), _TEST_OUTFIT),
}


class Subject(NamedTuple):
    """Who a world is about, and what they wear in the reference video.

    Attributes:
      doubts: where this was read off a video: possible values of the identity attributes that could not be read for certain.
        Then any of these values is the subject's, in each video another one, and look-alikes differ in other attributes.
    """

    identity: Identity
    outfit: Outfit
    doubts: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def possible_identity(self, rng: np.random.Generator) -> Identity:
        """The identity with a possible value of each attribute in doubt."""
        return dataclasses.replace(self.identity, **{name: pick(rng, values) for name, values in self.doubts.items()})

    def differences(self, other: Identity) -> tuple[str, ...]:
        """Attributes in which `other` is for certain not like the subject."""
        return tuple(name for name in self.identity.differences(other) if getattr(other, name) not in self.doubts.get(name, ()))


def subject_identity(seed: int) -> Identity:
    """The person that the world of this seed is about."""
    return random_identity(np.random.default_rng([seed, 0]), "subject")


def is_of_split(outfit: Outfit, scene: str, split: str) -> bool:
    """Whether the outfit may be seen in the scene in videos of `split`; each pair belongs to tests alone or to all other splits."""
    return (share_of(f"{outfit}/{scene}") < TEST_SHARE) == (split == "test")


def subject_of(seed: int) -> Subject:
    """Whom the world of this seed is about, as the reference video shows them."""
    rng = np.random.default_rng([seed, _STREAMS[REFERENCE], 0])
    return Subject(subject_identity(seed), _draw_reference_outfit(rng))


def reference_video(seed: int) -> VideoPlan:
    """The one video from which a model is to learn the subject; it counts as training."""
    rng = np.random.default_rng([seed, _STREAMS[REFERENCE], 1])
    subject = subject_of(seed)
    return VideoPlan(
        split=REFERENCE,
        index=0,
        seed=int(rng.integers(2**53)),
        role="positive",
        scene=pick(rng, _scenes(subject.outfit, REFERENCE)),
        person=Person(identity=subject.identity, outfit=subject.outfit, action=_draw_standing_action(rng), position=pick(rng, POSITIONS)),
        bystander=None,
        differences=(),
    )


def plan_video(seed: int, split: str, index: int, subject: Subject | None = None) -> VideoPlan:
    """Draws video number `index` of a split.

    The number says who is there, as the split's mix has it in turn.

    Args:
      subject: who the videos are about, such as what was read off a reference video; by default the true subject of the seed.
    """
    rng = np.random.default_rng([seed, _STREAMS[split], index])
    subject = subject or subject_of(seed)
    mix = MIXES[split]
    grade = mix.turn[index % len(mix.turn)]
    role = {SUBJECT: "positive", STRANGER: "easy_negative"}.get(grade, "hard_negative")
    identity = subject.possible_identity(rng) if role == "positive" else _other_identity(split, rng, subject, grade)
    has_bystander = rng.random() < SECOND_PERSON_PROBABILITY
    if rng.random() < mix.reference_outfit[role]:
        outfit = subject.outfit
        scene = pick(rng, _scenes(outfit, split) or tuple(SCENES))  # what was misread may belong to tests everywhere
    else:
        scene = pick(rng, tuple(SCENES))
        outfit = _draw_outfit(split, scene, rng)
    action, position = _draw_place(rng, has_bystander)
    while role == "hard_negative" and hidden_attributes(outfit, action).issuperset(subject.differences(identity)):
        identity = _other_identity(split, rng, subject, grade)
    bystander = None
    if has_bystander:
        other = _other_identity(split, rng, subject, STRANGER)
        bystander = _draw_bystander(other, position, split, scene, rng)
    return VideoPlan(
        split=split,
        index=index,
        seed=int(rng.integers(2**53)),
        role=role,
        scene=scene,
        person=Person(identity=identity, outfit=outfit, action=action, position=position),
        bystander=bystander,
        differences=subject.differences(identity) if role == "hard_negative" else (),
    )


def hidden_attributes(outfit: Outfit, action: str) -> frozenset[str]:
    """Attributes that a video does not show well enough to tell look-alikes apart by them alone: a hat covers most of the hair, and
    walking sways like a rolling gait."""
    hidden = ("hair_style",) if outfit.hat != "none" else ()
    return frozenset((*hidden, "gait") if action in (WALK_LEFT, WALK_RIGHT) else hidden)


def plan_base_video(seed: int, index: int) -> VideoPlan:
    """Video number `index` for the training of a base model, which meets no subject and nobody of the test split."""
    rng = np.random.default_rng([seed, _STREAMS["base"], index])
    scene = pick(rng, tuple(SCENES))
    has_bystander = rng.random() < BASE_SECOND_PERSON_PROBABILITY
    action, position = _draw_place(rng, has_bystander)
    person = Person(identity=random_identity(rng, "base"), outfit=_draw_outfit("train", scene, rng), action=action, position=position)
    bystander = _draw_bystander(random_identity(rng, "base"), position, "train", scene, rng) if has_bystander else None
    return VideoPlan(
        split="base",
        index=index,
        seed=int(rng.integers(2**53)),
        role="positive",
        scene=scene,
        person=person,
        bystander=bystander,
        differences=(),
    )


def _other_identity(split: str, rng: np.random.Generator, subject: Subject, grade: int) -> Identity:
    """A look-alike of the grade, or for `STRANGER` somebody who differs in more attributes than any look-alike."""
    groups = ("test",) if split == "test" else ("base", "test") if grade else ("base",)
    certain = tuple(name for name in IDENTITY_VALUES if name not in subject.doubts)
    while True:
        identity = look_alike(subject.possible_identity(rng), grade, rng, certain) if grade else random_identity(rng, groups[0])
        too_near = not grade and len(subject.differences(identity)) <= max(GRADES)
        if not too_near and people_group(identity) in groups:
            return identity


def _draw_bystander(identity: Identity, position: str | None, split: str, scene: str, rng: np.random.Generator) -> Person:
    return Person(
        identity=identity,
        outfit=_draw_outfit(split, scene, rng),
        action=_draw_standing_action(rng),
        position="right" if position == "left" else "left",
    )


@functools.cache
def _reference_outfits() -> frozenset[Outfit]:
    return frozenset(outfit for outfit in all_outfits() if all(len(_scenes(outfit, split)) >= _MIN_REFERENCE_SCENES for split in SPLITS))


def _draw_reference_outfit(rng: np.random.Generator) -> Outfit:
    while (outfit := random_outfit(rng)) not in _reference_outfits():
        pass
    return outfit


def _scenes(outfit: Outfit, split: str) -> tuple[str, ...]:
    return tuple(scene for scene in SCENES if is_of_split(outfit, scene, split))


def _draw_outfit(split: str, scene: str, rng: np.random.Generator) -> Outfit:
    while True:
        outfit = random_outfit(rng)
        if is_of_split(outfit, scene, split):
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
