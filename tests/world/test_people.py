import collections
import dataclasses

import numpy as np
import pytest

from pvchat_jax.world.people import (
    IDENTITY_VALUES,
    PEOPLE_GROUPS,
    Identity,
    Outfit,
    all_outfits,
    look_alike,
    people_group,
    random_identity,
    random_outfit,
)


@pytest.mark.parametrize("n_differences", range(1, 10))
def test_look_alike_differs_in_exactly_n_attributes(n_differences: int) -> None:
    rng = np.random.default_rng(n_differences)
    for _ in range(50):
        identity = random_identity(rng, "base")
        other = look_alike(identity, n_differences, rng)
        assert len(identity.differences(other)) == n_differences


@pytest.mark.parametrize("n_differences", [0, 10])
def test_look_alike_refuses_impossible_numbers(n_differences: int) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="1 to 9 attributes"):
        look_alike(random_identity(rng, "base"), n_differences, rng)


def test_look_alikes_can_be_held_to_some_attributes() -> None:
    rng = np.random.default_rng(0)
    identity = random_identity(rng, "base")
    found = {identity.differences(look_alike(identity, 1, rng, ("eyes", "gait"))) for _ in range(30)}
    assert found == {("eyes",), ("gait",)}
    with pytest.raises(ValueError, match="1 to 2 attributes, not in 3"):
        look_alike(identity, 3, rng, ("eyes", "gait"))


def test_look_alikes_differ_in_every_attribute_sometimes() -> None:
    rng = np.random.default_rng(0)
    identity = random_identity(rng, "base")
    found = {name for _ in range(100) for name in identity.differences(look_alike(identity, 2, rng))}
    assert found == set(IDENTITY_VALUES)


def test_random_draws_reach_every_value() -> None:
    rng = np.random.default_rng(0)
    people = [random_identity(rng, "base") for _ in range(200)]
    for name, values in IDENTITY_VALUES.items():
        assert {getattr(person, name) for person in people} == set(values)
    assert len({random_outfit(rng) for _ in range(3000)}) == len(list(all_outfits()))


def test_everybody_belongs_to_one_group_for_good() -> None:
    rng = np.random.default_rng(0)
    people = [Identity(**{name: values[rng.integers(len(values))] for name, values in IDENTITY_VALUES.items()}) for _ in range(3000)]
    found = collections.Counter(map(people_group, people))
    for group, share in PEOPLE_GROUPS.items():
        assert abs(found[group] / len(people) - share) < 0.03
    # The groups of the shipped base model's training and of published tests: a new hash would mix them.
    first = Identity(**{name: values[0] for name, values in IDENTITY_VALUES.items()})
    groups = [people_group(dataclasses.replace(first, hair_colour=value)) for value in IDENTITY_VALUES["hair_colour"]]
    assert groups == ["base", "test", "base", "base", "test", "base"]


@pytest.mark.parametrize("group", PEOPLE_GROUPS)
def test_random_people_are_of_the_group_asked_for(group: str) -> None:
    rng = np.random.default_rng(0)
    assert {people_group(random_identity(rng, group)) for _ in range(100)} == {group}


def test_unknown_values_are_refused() -> None:
    identity = random_identity(np.random.default_rng(0), "base")
    with pytest.raises(ValueError, match="identity hair_colour 'green' is not one of"):
        dataclasses.replace(identity, hair_colour="green")
    with pytest.raises(ValueError, match="outfit hat 'crown' is not one of"):
        Outfit(colour="red", garment="shirt", hat="crown")


def test_identity_has_a_value_list_for_every_field() -> None:
    assert [field.name for field in dataclasses.fields(Identity)] == list(IDENTITY_VALUES)
