"""Training clips from the pixels of one video: the subject, look-alikes and strangers from a corpus, all cut out and placed anew.

Whoever is in the corpus is there in one video, as the subject is, and goes through the same compositor. Look-alikes are the people
of the corpus whose embeddings are nearest to the subject's. The subject's head on a body of another build or gait is somebody else as
well, and in this no clip of the subject differs from those of others. What clips show, questions about clothes, place and action can
be answered from: it was read off the videos by the same readers, or chosen by the compositor.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.records import Record, write_records
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.personalisation.cut_people import OF_THE_FACE, CutPerson
from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader
from pvchat_jax.synthesis.generators.compositor import Compositor, Member
from pvchat_jax.synthesis.generators.generator import MadeClip
from pvchat_jax.world.actions import WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.people import Identity
from pvchat_jax.world.plan import MIXES, STRANGER, SUBJECT, Person, VideoPlan
from pvchat_jax.world.questions import ask
from pvchat_jax.world.render import encode_video

NEAREST = 0.835  # similarity from which people differ in one attribute at most, as far as can be read
_OTHER_FIGURE = 0.2  # of the nearest look-alikes, those who have the subject's own head

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


class Composition(NamedTuple):
    """One clip to be made: who is in it, `grade` as in `world.plan.Mix.turn`, and the seed."""

    split: str
    index: int
    grade: int
    member: Member
    person: CutPerson
    seed: int


def plan_clips(split: str, number: int, subject: CutPerson, bands: Bands, figures: Sequence[str], seed: int) -> list[Composition]:
    """The clips of a split, of whom as `MIXES` has it.

    Args:
      figures: of which there are bodies.
    """
    plans = []
    others = [figure for figure in subject.other_figures if figure in figures]
    for index in range(number):
        rng = np.random.default_rng([seed, sum(split.encode()), index])
        grade = MIXES[split].turn[index % len(MIXES[split].turn)]
        person = subject
        member = subject.member
        if grade == 1 and others and rng.random() < _OTHER_FIGURE:
            member = member._replace(figure=others[rng.integers(len(others))], own_body=False)
        elif grade != SUBJECT:
            band = {STRANGER: bands.strangers, 1: bands.nearest, 2: bands.second}[grade]
            person = band[rng.integers(len(band))]
            member = person.member
        plans.append(Composition(split, index, grade, member, person, int(rng.integers(2**53))))
    return plans


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
    compositor = Compositor({key: person.member for key, person in people.items()}, subject.member.key)
    bands = sort_corpus(subject, corpus)
    figures = {person.member.figure for person in people.values() if person.member.lends}
    plans = [plan for split, number in numbers.items() for plan in plan_clips(split, number, subject, bands, sorted(figures), seed)]
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    make = functools.partial(_make, out_dir, compositor, people, name, num_frames)
    records: dict[str, list[Record]] = {split: [] for split in numbers}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        for done, (plan, record) in enumerate(zip(plans, executor.map(make, plans), strict=True), start=1):
            records[plan.split].append(record)
            progress(done, len(plans))
    paths = {split: out_dir / f"{split}.jsonl" for split in numbers}
    for split, path in paths.items():
        write_records(path, records[split])
    return paths


def _make(out_dir: Path, compositor: Compositor, people: dict[str, CutPerson], name: str, num_frames: int, plan: Composition) -> Record:
    clip = compositor.make_one(plan.member, "", plan.seed, num_frames)
    content = encode_video(clip.frames)
    video = f"videos/{plan.split}_{plan.index:06d}.mp4"
    write_atomically(out_dir / video, content)
    action = _action(plan, clip, people)
    shown = _shown(plan, clip, people, action or "stand")
    questions = tuple(question for question in ask(shown, name) if question.type != "action" or action)
    return Record(
        video=video,
        subject=name,
        role=shown.role,
        origin=compositor.origin,
        sha256=hashlib.sha256(content).hexdigest(),
        questions=questions,
        truth={"grade": plan.grade, **clip.settings},
    )


def _action(plan: Composition, clip: MadeClip, people: dict[str, CutPerson]) -> str | None:
    """What somebody does with a head from one video and a body from another; None where that cannot be told."""
    body = people[str(clip.settings["body"])]
    if not clip.settings["place"]:
        return WALK_RIGHT if body.member.cut.head_x[-1] > body.member.cut.head_x[0] else WALK_LEFT
    if body.action in (WALK_LEFT, WALK_RIGHT):
        return None  # misread
    if clip.settings["face"]:
        return None
    if clip.settings["own_body"] and not clip.settings["frozen_head"]:
        return body.action
    head_moves = plan.person.action in OF_THE_FACE and not clip.settings["frozen_head"]
    if body.action in OF_THE_FACE or head_moves:
        return plan.person.action if head_moves and body.action == "stand" else None
    return body.action


def _shown(plan: Composition, clip: MadeClip, people: dict[str, CutPerson], action: str) -> VideoPlan:
    """What the clip shows, in the words of the world; the identity is nobody's."""
    body, place = people[str(clip.settings["body"])], str(clip.settings["place"]) or None
    outfit = dataclasses.replace(body.outfit, hat=str(clip.settings["hat"]) or "none")
    return VideoPlan(
        split=plan.split,
        index=plan.index,
        seed=plan.seed,
        role={SUBJECT: "positive", STRANGER: "easy_negative"}.get(plan.grade, "hard_negative"),
        scene=str(clip.settings["scene"]),
        person=Person(identity=_NOBODY, outfit=outfit, action=action, position=place),
        bystander=None,
        differences=(),
    )


_NOBODY = Identity(
    skin="pale", hair_colour="black", hair_style="short", face="round", eyes="brown", facial_hair="none", mark="none", build="slim",
    gait="steady",
)  # fmt: skip
