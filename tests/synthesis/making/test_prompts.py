import itertools
import re

import numpy as np
import pytest

from pvchat_jax.synthesis.making.prompts import AGE_GROUPS, prompts, suitable


def first(age_group: str, seed: int, count: int) -> list:
    return list(itertools.islice(prompts(age_group, np.random.default_rng(seed)), count))


def test_several_hundred_combinations_of_scene_action_and_age() -> None:
    assert sum(len(suitable(age_group)) for age_group in AGE_GROUPS[1:]) > 400
    for age_group in AGE_GROUPS:
        assert len({scene for scene, _ in suitable(age_group)}) >= 20


def test_prompts_follow_from_the_rng() -> None:
    assert first("young", 3, 50) == first("young", 3, 50)
    assert first("young", 3, 50) != first("young", 4, 50)


@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_every_suitable_action_comes_once_before_one_comes_again(age_group: str) -> None:
    pairs = suitable(age_group)
    drawn = first(age_group, 0, 2 * len(pairs))
    for half in (drawn[: len(pairs)], drawn[len(pairs) :]):
        assert sorted((prompt.scene, prompt.action) for prompt in half) == sorted(pairs)
    assert len({prompt.text for prompt in drawn}) > 1.9 * len(pairs)


def test_ages_get_what_suits_them() -> None:
    assert ("workshop", "hammer_nail") not in suitable("child")
    assert ("gym", "run_on_treadmill") not in suitable("elderly")
    assert ("beach", "build_sandcastle") in suitable("child")
    assert set(suitable("unknown")) == set.intersection(*(set(suitable(age_group)) for age_group in AGE_GROUPS[1:]))
    with pytest.raises(ValueError, match="age group"):
        suitable("teen")


@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_a_text_is_a_few_whole_sentences_that_name_neither_sex_nor_looks(age_group: str) -> None:
    for prompt in first(age_group, 1, 300):
        assert re.fullmatch(r"An? (?:[^.<>{}]+\. ){3}[^.<>{}]+\.", prompt.text), prompt.text
        words = set(re.findall(r"[a-z]+", prompt.text.lower()))
        assert not words & {"he", "she", "his", "her", "man", "woman", "boy", "girl", "blond", "bearded", "hair"}
