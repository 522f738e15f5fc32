"""What training shows and what tests show have nothing in common but the subjects and the look-alikes invented around them.

`Shown` collects it for a list of videos, `shared` compares two of them, and the second half plants leaks that `shared` must find.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest

from pvchat_jax.world.base_questions import ask_anybody
from pvchat_jax.world.people import Identity, Outfit, look_alike, people_group
from pvchat_jax.world.plan import Person, Subject, VideoPlan, plan_base_video, plan_video, reference_video, subject_identity, subject_of
from pvchat_jax.world.questions import TEST_PHRASINGS, TRAIN_PHRASINGS, ask
from pvchat_jax.world.render import encode_video, render_frames

SEEDS = range(4)
VIDEOS = 120
PHRASINGS = {
    re.compile(re.escape(text).replace(re.escape("{name}"), "(<\\w+>|the person (with|on|in) .+)")): text
    for table in (TRAIN_PHRASINGS, TEST_PHRASINGS)
    for texts in table.values()
    for text in texts
}


class Shown(NamedTuple):
    """What is to be seen and read in some videos and their questions."""

    people: frozenset[Identity]
    dressed: frozenset[tuple[Outfit, str]]
    seeds: frozenset[int]
    phrasings: frozenset[str]


def phrasings_of(question: str) -> set[str]:
    found = {text for pattern, text in PHRASINGS.items() if pattern.fullmatch(question)}
    assert found, question
    return found


def shown(plans: Iterable[VideoPlan]) -> Shown:
    plans = list(plans)
    people = [(person, plan) for plan in plans for person in (plan.person, plan.bystander) if person]
    questions = {q.question for plan in plans for q in (ask_anybody(plan) if plan.split == "base" else ask(plan, "<Ada>"))}
    return Shown(
        people=frozenset(person.identity for person, plan in people if not is_invented(person, plan)),
        dressed=frozenset((person.outfit, plan.scene) for person, plan in people),
        seeds=frozenset(plan.seed for plan in plans),
        phrasings=frozenset().union(*map(phrasings_of, questions)),
    )


def is_invented(person: Person, plan: VideoPlan) -> bool:
    """Whether it is a look-alike that a personalisation has invented for its own clips."""
    return plan.split in ("train", "calibration") and plan.role == "hard_negative" and person is plan.person


def shared(training: Iterable[VideoPlan], tests: Iterable[VideoPlan], subjects: Iterable[Identity]) -> dict[str, frozenset]:
    """What both show, by kind; whom the models are trained to know are meant to be seen in both."""
    kinds = {name: first & second for name, first, second in zip(Shown._fields, shown(training), shown(tests), strict=True)}
    kinds["people"] -= frozenset(subjects)
    return {name: common for name, common in kinds.items() if common}


@functools.cache
def misread(seed: int) -> Subject:
    """What a model might take the subject of a world for: a few attributes are wrong, and so are the clothes."""
    rng = np.random.default_rng([seed, 99])
    read = look_alike(subject_identity(seed), 1 + seed % 3, rng)
    return Subject(read, Outfit(colour="purple", garment=("jacket", "dotted shirt")[seed % 2], hat="hat"))


@functools.cache
def training_plans() -> tuple[VideoPlan, ...]:
    plans = [plan_base_video(seed, index) for seed in SEEDS for index in range(VIDEOS)]
    plans += [reference_video(seed) for seed in SEEDS]
    for split in ("train", "calibration"):
        for seed in SEEDS:
            plans += [plan_video(seed, split, index, subject) for subject in (subject_of(seed), misread(seed)) for index in range(VIDEOS)]
    return tuple(plans)


@functools.cache
def test_plans() -> tuple[VideoPlan, ...]:
    return tuple(plan_video(seed, "test", index) for seed in SEEDS for index in range(VIDEOS))


test_plans.__test__ = False
SUBJECTS = frozenset(subject_identity(seed) for seed in SEEDS) | frozenset(misread(seed).identity for seed in SEEDS)


def test_training_and_tests_share_nothing_but_the_subjects() -> None:
    assert shared(training_plans(), test_plans(), SUBJECTS) == {}
    assert set(map(subject_identity, SEEDS)) <= shown(training_plans()).people & shown(test_plans()).people


def test_training_videos_are_files_of_their_own() -> None:
    kinds = {(plan.split, plan.role): plan for plan in training_plans()}
    files = [hashlib.sha256(encode_video(render_frames(plan))).hexdigest() for plan in (*kinds.values(), *test_plans()[:8])]
    assert len(kinds) == 7
    assert len(set(files)) == len(files)


def test_nobody_but_their_own_world_meets_a_subject() -> None:
    for seed in SEEDS:
        subject = subject_identity(seed)
        assert people_group(subject) == "subject"
        others = [plan for plan in (*training_plans(), *test_plans()) if plan.role != "positive" or plan.split == "base"]
        assert subject not in shown(others).people


def test_base_people_are_of_their_group() -> None:
    base = [plan for plan in training_plans() if plan.split == "base"]
    assert {people_group(identity) for identity in shown(base).people} == {"base"}
    assert len(shown(base).people) > VIDEOS  # not the same few over and over


def test_no_two_videos_have_the_same_seed() -> None:
    drawn = {(plan.split, plan.index, plan.seed) for plan in (*training_plans(), *test_plans())}
    assert len({seed for *_, seed in drawn}) == len(drawn)


def test_every_phrasing_is_used_on_its_side() -> None:
    tables = {
        name: {text for texts in table.values() for text in texts} for name, table in (("train", TRAIN_PHRASINGS), ("test", TEST_PHRASINGS))
    }
    assert shown(training_plans()).phrasings == tables["train"]
    assert shown(test_plans()).phrasings == tables["test"]


def of_tests(plan: VideoPlan) -> VideoPlan:
    """A test of somebody else."""
    return next(other for other in test_plans() if other.role == "easy_negative" and other.person.identity != plan.person.identity)


def with_other_person(plan: VideoPlan, **changes: object) -> VideoPlan:
    return dataclasses.replace(plan, person=dataclasses.replace(plan.person, **changes))


@pytest.mark.parametrize("split", ["base", "train", "calibration", "reference"])
@pytest.mark.parametrize(
    ("kind", "leak"),
    [
        ("people", lambda plan, test: with_other_person(plan, identity=test.person.identity)),
        ("people", lambda plan, test: dataclasses.replace(plan, bystander=test.person)),
        ("dressed", lambda plan, test: dataclasses.replace(with_other_person(plan, outfit=test.person.outfit), scene=test.scene)),
        ("seeds", lambda plan, test: dataclasses.replace(plan, seed=test.seed)),
        ("phrasings", lambda plan, test: dataclasses.replace(plan, split="test")),
    ],
)
def test_a_planted_leak_is_found(kind: str, leak, split: str) -> None:
    plan = next(plan for plan in training_plans() if plan.split == split)
    assert kind in shared([leak(plan, of_tests(plan))], test_plans(), SUBJECTS)
