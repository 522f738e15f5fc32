"""The corpus of other people."""

from pathlib import Path

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.world.corpus import build_corpus, neighbours, plan_corpus
from pvchat_jax.world.people import people_group
from pvchat_jax.world.plan import subject_identity


def test_nobody_of_the_tests_and_no_subject_is_in_a_corpus() -> None:
    plans = plan_corpus(1, (0, 1), num_second=10, num_others=20)
    people = [plan.person.identity for plan in plans]
    assert not {subject_identity(0), subject_identity(1)} & set(people)
    assert all(people_group(identity) != "test" for identity in people)
    assert all(plan.bystander is None for plan in plans)
    assert len({plan.seed for plan in plans}) == len(plans)


def test_it_has_the_neighbours_of_the_subjects() -> None:
    subject = subject_identity(0)
    first, second = list(neighbours(subject, 1)), list(neighbours(subject, 2))
    assert all(len(subject.differences(other)) == 1 for other in first) and len(set(first)) == len(first) > 5
    assert all(len(subject.differences(other)) == 2 for other in second)
    people = {plan.person.identity for plan in plan_corpus(1, (0,), num_second=10, num_others=20)}
    assert set(first) <= people and len(people & set(second)) == 10


def test_a_folder_holds_one_corpus(tmp_path: Path) -> None:
    paths = build_corpus(tmp_path, seed=1, num_second=0, num_others=2)
    assert all(path.is_file() for path in paths) and len(paths) == 2
    assert build_corpus(tmp_path, seed=1, num_second=0, num_others=2) == paths
    with pytest.raises(UserError, match="another"):
        build_corpus(tmp_path, seed=2, num_second=0, num_others=2)
