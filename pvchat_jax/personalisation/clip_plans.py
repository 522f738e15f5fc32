"""Who is in the clips of a training set that is made of one video and a corpus, and what each clip is to be like.

Whoever is in the corpus is there in one video, as the subject is. Look-alikes are the people of the corpus whose embeddings are nearest
to the subject's; the subject with a part of somebody else's face, or with another outline of the head; and the subject's head on a body
of another build or gait.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader
from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.generators.compositor import Cast
from pvchat_jax.synthesis.generators.cutouts import stretch
from pvchat_jax.synthesis.generators.exchanging import Exchange
from pvchat_jax.world.plan import MIXES, STRANGER, SUBJECT

NEAREST = 0.835  # similarity from which people differ in one attribute at most, as far as can be read
_OTHER_FIGURE = 0.15  # of the nearest look-alikes, those who have the subject's own head,
_OTHER_REGION = 0.55  # and those who have a part of the subject's face, or all of it under other hair
_TRAINED_ON = 0.75  # of the clear frames of the one video, its beginning; the rest is kept for the threshold
_KEPT, _FEWEST_KEPT = 5, 12  # one in so many of the corpus is kept from training, if that makes enough people


class Bands(NamedTuple):
    """The people of a corpus by how alike they are to the subject: in one attribute another, in two, in more."""

    nearest: list[CutPerson]
    second: list[CutPerson]
    strangers: list[CutPerson]


def sort_corpus(subject: CutPerson, corpus: Sequence[CutPerson]) -> Bands:
    """The bands of a corpus; who may be the subject is in none, and an empty band gets the nearest of the next one.

    Raises:
      UserError: the corpus is too small.
    """
    order = sorted(corpus, key=lambda person: -float(person.embedding @ subject.embedding))
    alike = {person.member.key: float(person.embedding @ subject.embedding) for person in order}
    others = [
        person for person in order if alike[person.member.key] < TinyBaseReader.same_person and person.member.key != subject.member.key
    ]
    nearest = [person for person in others if alike[person.member.key] >= NEAREST]
    second = [person for person in others if TinyBaseReader.alike <= alike[person.member.key] < NEAREST]
    strangers = [person for person in others if alike[person.member.key] < TinyBaseReader.alike]
    if len(others) < 4 or not strangers:
        raise UserError("the corpus has too few people who are not like the subject; add videos of other people to it.")
    return Bands(nearest or others[:4], second or others[: len(others) // 2], strangers)


def cast_of(split: str, corpus: Sequence[CutPerson]) -> list[CutPerson]:
    """Who of the corpus is in the clips of a split. Whom training shows, a threshold must not be chosen on: a fifth is kept for that."""
    kept = {person.member.key for person in corpus if int(person.member.key, 16) % _KEPT == 0}
    if len(kept) < _FEWEST_KEPT:
        return list(corpus)
    return [person for person in corpus if (person.member.key in kept) == (split != "train")]


def seen_in(split: str, subject: CutPerson) -> CutPerson:
    """The subject in the frames that a split uses: what training shows to the pixel, a threshold must not be chosen on."""
    cut = subject.member.cut
    if len(cut.clear) < 2:
        return subject
    first = int(cut.clear[min(round(len(cut.clear) * _TRAINED_ON), len(cut.clear) - 1)])
    taken = np.arange(first) if split == "train" else np.arange(first, len(cut.frames))
    return subject._replace(member=subject.member._replace(cut=stretch(cut, taken)))


class Composition(NamedTuple):
    """One clip to be made.

    Attributes:
      grade: as in `world.plan.Mix.turn`. person: whose head it is.
      like: who is in the clip that this one is like in everything else; None for those that others are like.
    """

    split: str
    index: int
    grade: int
    cast: Cast
    person: CutPerson
    like: Cast | None

    @property
    def name(self) -> str:
        """Of the clip's file."""
        return f"{self.split}_{self.index:06d}"


def plan_clips(split: str, number: int, subject: CutPerson, bands: Bands, figures: Sequence[str], seed: int) -> list[Composition]:
    """The clips of a split, of whom as `MIXES` has it.

    Args:
      figures: of which there are bodies.
    """
    plans = []
    figures = [figure for figure in subject.other_figures if figure in figures]
    donors = _donors(subject, [*bands.nearest, *bands.second, *bands.strangers])
    for index in range(number):
        rng = np.random.default_rng([seed, sum(split.encode()), index])
        grade = MIXES[split].turn[index % len(MIXES[split].turn)]
        person, exchange = subject, None
        member = subject.member
        chance = rng.random()
        if grade == 1 and figures and chance < _OTHER_FIGURE:
            member = member._replace(figure=figures[rng.integers(len(figures))], own_body=False)
        elif grade == 1 and donors and chance > 1 - _OTHER_REGION:
            person, member, exchange = _exchanged(subject, donors, rng)
        elif grade != SUBJECT:
            band = {STRANGER: bands.strangers, 1: bands.nearest, 2: bands.second}[grade]
            person = band[rng.integers(len(band))]
            member = person.member
        plans.append(Composition(split, index, grade, Cast(member, int(rng.integers(2**53)), exchange), person, None))
    # Each clip of the subject shows what one of somebody else does, so that no scene, action or hat tells who it is.
    others = [plan.cast for plan in plans if plan.grade != SUBJECT]
    own = [plan for plan in plans if plan.grade == SUBJECT]
    models = {plan.index: other for plan, other in zip(own, others, strict=False)}
    return [plan._replace(like=models.get(plan.index)) for plan in plans]


def _donors(subject: CutPerson, others: Sequence[CutPerson]) -> dict[str, list[CutPerson]]:
    """Those whose eyes, lower face or hair would make somebody else of the subject, by what it is."""
    own = subject.member
    still = [one for one in others if not one.member.face_moves]  # with a straight face and open eyes
    fitting = [one for one in still if own.skin and (one.member.head, one.member.skin) == (own.head, own.skin)]
    donors = {name: [one for one in fitting if one.member.features[name] != look] for name, look in own.features.items()}
    donors["outline"] = [one for one in others if own.outline and one.member.outline not in (None, own.outline)]
    donors["hair"] = [one for one in donors.get("hair", []) if not one.member.hat]  # which would hide it
    return {name: found for name, found in donors.items() if found}


def _exchanged(
    subject: CutPerson, donors: Mapping[str, Sequence[CutPerson]], rng: np.random.Generator
) -> tuple[CutPerson, Member, Exchange | None]:
    """A look-alike: the subject with another one's eyes, lower face or outline of the head, or another one's hair around the
    subject's face."""
    name = sorted(donors)[rng.integers(len(donors))]
    donor = donors[name][rng.integers(len(donors[name]))]
    if name == "outline":  # and hats that fit it
        return subject, subject.member._replace(outline=donor.member.outline, head=donor.member.head, hair=""), None
    if name != "hair":
        return subject, subject.member, Exchange(name, donor.member.cut)
    own_body = donor.member.figure == subject.member.figure
    return donor, donor.member._replace(figure=subject.member.figure, own_body=own_body), Exchange("face", subject.member.cut)
