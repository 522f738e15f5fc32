"""Who is in the picture: identities, which stay, and outfits, which are new in every video. Names alone; figure.py draws them.

Every identity that can exist belongs to one group of people for good, by a hash: people that a base model may be trained on and
that training clips may show (`base`), people that a model may be personalised to (`subject`), and the strangers and look-alikes of
tests (`test`). So no base model has met a subject or anybody of the tests, and no training clip shows a stranger of the tests. The
look-alikes of training clips alone may be of either group: they are invented around a subject, who has 23 look-alikes with one
difference in this world and not more.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")

# Each value can be told from the others of its row in pictures 64 pixels wide, with any hat on; gait takes several of them.
IDENTITY_VALUES: Mapping[str, tuple[str, ...]] = {
    "skin": ("pale", "tan", "brown", "dark"),
    "hair_colour": ("black", "blonde", "ginger", "white", "blue", "pink"),
    "hair_style": ("short", "bob", "long", "curls", "pigtails"),
    "face": ("round", "long", "square"),
    "eyes": ("brown", "blue", "green"),
    "facial_hair": ("none", "moustache", "beard"),
    "mark": ("none", "blush", "plaster"),
    "build": ("slim", "broad"),
    "gait": ("steady", "rolling", "stooped"),
}
PEOPLE_GROUPS: Mapping[str, float] = {"base": 0.5, "subject": 0.1, "test": 0.4}  # shares of all identities
TOP_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
GARMENTS = ("shirt", "striped shirt", "dotted shirt", "jacket")
HATS = ("none", "cap", "hat")
HAT_PROBABILITY = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What a person looks like in every video; each field is one of `IDENTITY_VALUES[field]`."""

    skin: str
    hair_colour: str
    hair_style: str
    face: str
    eyes: str
    facial_hair: str
    mark: str
    build: str
    gait: str

    def __post_init__(self) -> None:
        for attribute, values in IDENTITY_VALUES.items():
            if getattr(self, attribute) not in values:
                raise ValueError(f"identity {attribute} '{getattr(self, attribute)}' is not one of {values}")

    def differences(self, other: "Identity") -> tuple[str, ...]:
        """Names of the attributes in which the two people differ."""
        return tuple(name for name in IDENTITY_VALUES if getattr(self, name) != getattr(other, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outfit:
    """What a person wears in one video; a hat has the colour of the top."""

    colour: str
    garment: str
    hat: str = "none"

    def __post_init__(self) -> None:
        for name, values in (("colour", TOP_COLOURS), ("garment", GARMENTS), ("hat", HATS)):
            if getattr(self, name) not in values:
                raise ValueError(f"outfit {name} '{getattr(self, name)}' is not one of {values}")


def pick(rng: np.random.Generator, values: Sequence[_T]) -> _T:
    """One of `values`, uniformly; much faster than `rng.choice` on words."""
    return values[rng.integers(len(values))]


def share_of(item: str) -> float:
    """A number in [0, 1) that stands for `item`, such as the text of an identity, for good; it sorts items into groups."""
    digest = hashlib.blake2b(f"cast/{item}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def people_group(identity: Identity) -> str:
    """The only one of `PEOPLE_GROUPS` that a person belongs to."""
    share = share_of(repr(identity))
    for group, size in PEOPLE_GROUPS.items():
        if share < size:
            return group
        share -= size
    return group  # the last one, where sizes round to a sum below 1


def random_identity(rng: np.random.Generator, group: str) -> Identity:
    """A person of `group` with every attribute drawn uniformly."""
    while True:
        identity = Identity(**{name: pick(rng, values) for name, values in IDENTITY_VALUES.items()})
        if people_group(identity) == group:
            return identity


def look_alike(
    identity: Identity, n_differences: int, rng: np.random.Generator, attributes: Sequence[str] = tuple(IDENTITY_VALUES)
) -> Identity:
    """A person, of any group, who differs from `identity` in exactly `n_differences` of `attributes` and in nothing else.

    Raises:
      ValueError: `n_differences` is 0 or less, or more than there are attributes.
    """
    if not 1 <= n_differences <= len(attributes):
        raise ValueError(f"a look-alike differs in 1 to {len(attributes)} attributes, not in {n_differences}")
    changed = {}
    for number in rng.permutation(len(attributes))[:n_differences]:
        name = attributes[number]
        changed[name] = pick(rng, [value for value in IDENTITY_VALUES[name] if value != getattr(identity, name)])
    return dataclasses.replace(identity, **changed)


def random_outfit(rng: np.random.Generator) -> Outfit:
    """An outfit; `HAT_PROBABILITY` of them have a hat."""
    hat = pick(rng, HATS[1:]) if rng.random() < HAT_PROBABILITY else "none"
    return Outfit(colour=pick(rng, TOP_COLOURS), garment=pick(rng, GARMENTS), hat=hat)


def all_outfits() -> Iterator[Outfit]:
    """Every outfit that exists."""
    for colour, garment, hat in itertools.product(TOP_COLOURS, GARMENTS, HATS):
        yield Outfit(colour=colour, garment=garment, hat=hat)
