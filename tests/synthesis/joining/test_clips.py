"""Clips that several sets have in common are taken over once, for all of them."""

from pathlib import Path

import numpy as np

from pvchat_jax.synthesis.joining.clips import take_over
from pvchat_jax.synthesis.joining.parts import Part
from pvchat_jax.synthesis.privacy.consent import make_consent
from pvchat_jax.synthesis.records import Clip, SetAside, sha256_of
from pvchat_jax.synthesis.stages import StageStore
from tests.synthesis.fakes import OTHER, STRANGER, SUBJECT, SquareReader, draw, film

READER = SquareReader()


def part_of(folder: Path, name: str, colour: tuple[int, ...], split: str) -> Part:
    """A set of one clip, which shows a stranger."""
    video = film(folder / name / "clips" / "stranger.mp4", STRANGER)
    clip = Clip(
        name=f"{split}-stranger",
        video="clips/stranger.mp4",
        role="easy_negative",
        origin="retrieved",
        source="5" * 64,
        tool="film",
        seed=0,
        settings={},
        sha256=sha256_of(video),
    )
    ((face,),) = READER.read([draw(90, {(6, 6): colour})])
    consent = make_consent(f"<{name}>", "2028-01-01", ["train"], date="2026-01-01")
    return Part(folder / name, f"<{name}>", face.embedding, ((split, clip),), {}, consent)


def taken_over(folder: Path, *parts: Part) -> tuple[list, list[SetAside]]:
    aside: list[SetAside] = []
    return list(take_over(parts, StageStore(folder / "out"), READER, lambda: None, aside.append)), aside


def test_a_clip_of_two_sets_belongs_to_both(tmp_path):
    (one,), aside = taken_over(tmp_path, part_of(tmp_path, "Wilson", SUBJECT, "train"), part_of(tmp_path, "Ada", OTHER, "train"))
    assert one.owners == {"<Wilson>", "<Ada>"} and one.present == frozenset() and not aside
    assert np.isclose(one.sights.width, 50 / 112, atol=0.05)


def test_what_one_set_trains_on_is_no_test_of_the_other(tmp_path):
    (one,), aside = taken_over(tmp_path, part_of(tmp_path, "Wilson", SUBJECT, "test"), part_of(tmp_path, "Ada", OTHER, "train"))
    assert one.split == "train" and not aside
