"""Who is in the picture: identities, which stay, and outfits, which are new in every video. Names alone; figure.py draws them."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")

# Each value can be told from the others of its row in a picture 64 pixels wide, with any hat on.
IDENTITY_VALUES: Mapping[str, tuple[str, ...]] = {
    "skin": ("pale", "tan", "brown", "dark"),
    "hair_colour": ("black", "blonde", "ginger", "white", "blue", "pink"),
    "hair_style": ("short", "bob", "long", "curls", "pigtails"),
    "face": ("round", "long", "square"),
    "eyewear": ("none", "glasses", "sunglasses"),
    "facial_hair": ("none", "moustache", "beard"),
    "mark": ("none", "blush", "plaster"),
    "build": ("slim", "broad"),
}
TOP_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
GARMENTS = ("shirt", "striped shirt", "dotted shirt", "jacket")
HATS = ("none", "cap", "hat")
HAT_PROBABILITY = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What a person looks like in every video; each field is one of `IDENTITY_VALUES[field]`."""

    skin: str
    hair_colour: str
    hair_style: str
    face: str
    eyewear: str
    facial_hair: str
    mark: str
    build: str

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


def random_identity(rng: np.random.Generator) -> Identity:
    """A person with every attribute drawn uniformly."""
    return Identity(**{name: pick(rng, values) for name, values in IDENTITY_VALUES.items()})


def look_alike(identity: Identity, n_differences: int, rng: np.random.Generator) -> Identity:
    """A person who differs from `identity` in exactly `n_differences` attributes.

    Raises:
      ValueError: `n_differences` is not in 1..8.
    """
    if not 1 <= n_differences <= len(IDENTITY_VALUES):
        raise ValueError(f"a look-alike differs in 1 to {len(IDENTITY_VALUES)} attributes, not in {n_differences}")
    changed = {}
    names = tuple(IDENTITY_VALUES)
    for number in rng.permutation(len(names))[:n_differences]:
        name = names[number]
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
