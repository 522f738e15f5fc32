"""The truth about pixels agrees with what is painted."""

import dataclasses

import numpy as np

from pvchat_jax.world.figure import PARTS
from pvchat_jax.world.plan import plan_video, reference_video
from pvchat_jax.world.render import render_frames, render_parts
from tests.synthesis.drawn import coverage

CLOTHES, NECK, FACE, HAIR, HAT, ARMS = range(1, 7)


def test_the_parts_together_are_the_person() -> None:
    assert PARTS == ("clothes", "neck", "face", "hair", "hat", "arms")
    plan = reference_video(5)
    parts, person = render_parts(plan), coverage(plan)
    assert parts.dtype == np.uint8 and parts.shape == (16, 128, 128)
    certain = np.abs(person - 0.5) > 0.3
    assert np.array_equal((parts > 0)[certain], (person > 0.5)[certain])


def test_hair_and_face_are_where_their_colours_are() -> None:
    plan = reference_video(6)  # white hair, tan skin
    frames, parts = render_frames(plan), render_parts(plan)
    hair, face = (np.median(frames[parts == part], axis=0) for part in (HAIR, FACE))
    assert np.ptp(hair) < 25 and face[0] - face[2] > 50


def test_there_is_a_hat_where_somebody_wears_one() -> None:
    plan = reference_video(5)
    for hat in ("none", "cap"):
        outfit = dataclasses.replace(plan.person.outfit, hat=hat)
        dressed = dataclasses.replace(plan, person=dataclasses.replace(plan.person, outfit=outfit))
        assert (HAT in render_parts(dressed)) == (hat == "cap")


def test_some_frames_are_those_frames_and_a_bystander_has_numbers_of_their_own() -> None:
    plan = next(plan for plan in (plan_video(0, "test", index) for index in range(100)) if plan.bystander)
    parts = render_parts(plan, frames=(3, 8))
    assert np.array_equal(parts, render_parts(plan)[[3, 8]])
    alone = render_parts(dataclasses.replace(plan, bystander=None), frames=(3, 8))
    assert np.array_equal(np.where(parts > len(PARTS), 0, parts), alone) and FACE + len(PARTS) in parts
