"""Training clips from the pixels of one video: the subject, look-alikes and strangers from a corpus, all cut out and placed anew.

Whoever is in the corpus is there in one video, as the subject is, and goes through the same compositor. Look-alikes are the people
of the corpus whose embeddings are nearest to the subject's. The subject's head on a body of another build or gait is somebody else as
well, and in this no clip of the subject differs from those of others. What clips show, questions about clothes, place and action can
be answered from: it was read off the videos by the same readers, or chosen by the compositor.
"""

import concurrent.futures
import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.data.records import Record, write_records
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader
from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.generators.compositor import Compositor
from pvchat_jax.synthesis.generators.cutouts import stretch
from pvchat_jax.synthesis.generators.exchanging import Exchange
from pvchat_jax.synthesis.making.showing import shown
from pvchat_jax.world.people import Identity, Outfit
from pvchat_jax.world.plan import MIXES, STRANGER, SUBJECT, Person, VideoPlan
from pvchat_jax.world.questions import ask
from pvchat_jax.world.render import encode_video

NEAREST = 0.835  # similarity from which people differ in one attribute at most, as far as can be read
_OTHER_FIGURE = 0.2  # of the nearest look-alikes, those who have the subject's own head,
_OTHER_REGION = 0.4  # and those who have a part of the subject's face, or all of it under other hair
_TRAINED_ON = 0.75  # of the one video, its beginning; the rest is kept for the threshold
_KEPT, _FEWEST_KEPT = 5, 12  # one in so many of the corpus is kept from training, if that makes enough people

Progress = Callable[[int, int], None]


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
    total = len(cut.frames)
    first = round(total * _TRAINED_ON)
    taken = np.arange(first) if split == "train" else np.arange(first, total)
    return subject._replace(member=subject.member._replace(cut=stretch(cut, taken)))


class Composition(NamedTuple):
    """One clip to be made: who is in it, `grade` as in `world.plan.Mix.turn`, the seed, and what of whose face is put on."""

    split: str
    index: int
    grade: int
    member: Member
    person: CutPerson
    seed: int
    exchange: Exchange | None


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
        plans.append(Composition(split, index, grade, member, person, int(rng.integers(2**53)), exchange))
    return plans


def _donors(subject: CutPerson, others: Sequence[CutPerson]) -> dict[str, list[CutPerson]]:
    """Those whose eyes, lower face or hair would make somebody else of the subject, by what it is."""
    own = subject.member
    still = [one for one in others if not one.member.face_moves]  # with a straight face and open eyes
    fitting = [one for one in still if own.skin and (one.member.head, one.member.skin) == (own.head, own.skin)]
    donors = {name: [one for one in fitting if one.member.features[name] != look] for name, look in own.features.items()}
    donors["hair"] = [one for one in donors.get("hair", []) if not one.member.hat]  # which would hide it
    return {name: found for name, found in donors.items() if found}


def _exchanged(
    subject: CutPerson, donors: Mapping[str, Sequence[CutPerson]], rng: np.random.Generator
) -> tuple[CutPerson, Member, Exchange]:
    """A look-alike: the subject with another one's eyes or lower face, or another one's hair around the subject's face."""
    name = sorted(donors)[rng.integers(len(donors))]
    donor = donors[name][rng.integers(len(donors[name]))]
    if name != "hair":
        return subject, subject.member, Exchange(name, donor.member.cut)
    own_body = donor.member.figure == subject.member.figure
    return donor, donor.member._replace(figure=subject.member.figure, own_body=own_body), Exchange("face", subject.member.cut)


def composite_clips(
    out_dir: Path,
    subject: CutPerson,
    corpus: Sequence[CutPerson],
    *,
    name: str,
    numbers: dict[str, int],
    num_frames: int,
    seed: int,
    progress: Progress,
) -> dict[str, Path]:
    """Makes the clips of each split of `numbers` and their records, and returns the paths of the records.

    Raises:
      UserError: the corpus is too small.
    """
    people = {person.member.key: person for person in (*corpus, subject)}
    plans: list[Composition] = []
    compositors: dict[str, Compositor] = {}
    for split, number in numbers.items():
        cast, star = cast_of(split, corpus), seen_in(split, subject)
        members = [person.member for person in (*cast, star)]
        compositors[split] = Compositor({member.key: member for member in members}, star.member.key)
        figures = sorted({member.figure for member in members if member.lends})
        plans += plan_clips(split, number, star, sort_corpus(star, cast), figures, seed)
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    make = functools.partial(_make, out_dir, compositors, people, name, num_frames)
    records: dict[str, list[Record]] = {split: [] for split in numbers}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        for done, (plan, record) in enumerate(zip(plans, executor.map(make, plans), strict=True), start=1):
            records[plan.split].append(record)
            progress(done, len(plans))
    paths = {split: out_dir / f"{split}.jsonl" for split in numbers}
    for split, path in paths.items():
        write_records(path, records[split])
    return paths


def _make(
    out_dir: Path, compositors: Mapping[str, Compositor], people: Mapping[str, CutPerson], name: str, num_frames: int, plan: Composition
) -> Record:
    clip = compositors[plan.split].make_one(plan.member, "", plan.seed, num_frames, plan.exchange)
    content = encode_video(clip.frames)
    video = f"videos/{plan.split}_{plan.index:06d}.mp4"
    write_atomically(out_dir / video, content)
    parts = (people[str(clip.settings[part])].known for part in ("body", "background", "clothes"))
    truth = shown(clip.settings, plan.person.known, *parts)
    role = {SUBJECT: "positive", STRANGER: "easy_negative"}.get(plan.grade, "hard_negative")
    questions = tuple(question for question in ask(_planned(plan, role, truth), name) if question.type != "action" or truth["action"])
    return Record(
        video=video,
        subject=name,
        role=role,
        origin=Compositor.origin,
        sha256=hashlib.sha256(content).hexdigest(),
        questions=questions,
        truth={"grade": plan.grade, **clip.settings},
    )


def _planned(plan: Composition, role: str, truth: Mapping[str, Any]) -> VideoPlan:
    """What a clip shows, as the world puts it; the identity is nobody's, and an action that is unknown is any."""
    return VideoPlan(
        split=plan.split,
        index=plan.index,
        seed=plan.seed,
        role=role,
        scene=truth["scene"],
        person=Person(identity=_NOBODY, outfit=Outfit(**truth["outfit"]), action=truth["action"] or "stand", position=truth["position"]),
        bystander=None,
        differences=(),
    )


_NOBODY = Identity(
    skin="pale", hair_colour="black", hair_style="short", face="round", eyes="brown", facial_hair="none", mark="none", build="slim",
    gait="steady",
)  # fmt: skip
