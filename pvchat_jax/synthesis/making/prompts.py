"""Prompts by scene, action and age group, put together from the sentences of `prompt_bank.json`."""

import functools
import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from pvchat_jax.synthesis.generators.generator import Prompt

AGE_GROUPS = ("unknown", "child", "young", "middle_aged", "elderly")


def prompts(age_group: str, rng: np.random.Generator) -> Iterator[Prompt]:
    """Prompts without end, which follow from `rng`; the first of them is drawn evenly from all scenes and actions.

    Every action that suits the age comes once before one comes again, then in other clothes, light and view. The text says the age but
    neither the sex nor anything of the looks, which the reference pictures have to show, so one bank serves the subject and all others.

    Args:
      age_group: one of `AGE_GROUPS`; `unknown` gets what suits every age.
    """
    pairs = suitable(age_group)
    while True:
        for index in rng.permutation(len(pairs)):
            yield _compose(age_group, *pairs[index], rng)


def suitable(age_group: str) -> list[tuple[str, str]]:
    """The (scene, action) that suit an age group."""
    if age_group not in AGE_GROUPS:
        raise ValueError(f"age group '{age_group}' is not one of {AGE_GROUPS}")
    wanted = {age_group} if age_group != "unknown" else set(AGE_GROUPS) - {"unknown"}
    return [
        (scene, action)
        for scene, content in _bank()["scenes"].items()
        for action, details in content["actions"].items()
        if wanted <= set(details.get("ages", AGE_GROUPS))
    ]


def _compose(age_group: str, scene: str, action: str, rng: np.random.Generator) -> Prompt:
    bank = _bank()
    content = bank["scenes"][scene]
    outfit, camera, light = (_draw(choices, rng) for choices in (content["outfits"], bank["cameras"], bank["lights"][content["light"]]))
    doing = f"{bank['people'][age_group]}, dressed in {outfit}, {content['actions'][action]['text']} {content['place']}."
    return Prompt(scene=scene, action=action, text=" ".join((doing, camera, light, bank["ending"])))


def _draw(choices: list[str], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


@functools.cache
def _bank() -> dict[str, Any]:
    return json.loads((importlib.resources.files("pvchat_jax.synthesis") / "prompt_bank.json").read_text(encoding="utf-8"))
