"""The packaged segmenter against the exact parts of people whom it has not met."""

import numpy as np
import pytest

from pvchat_jax.data.preprocess import resize_bicubic
from pvchat_jax.pretraining.parts import CLASSES
from pvchat_jax.synthesis.segmenting.segmenter import HEAD, Part
from pvchat_jax.synthesis.segmenting.tiny_base import TinyBaseSegmenter
from pvchat_jax.world.figure import PARTS
from pvchat_jax.world.plan import plan_video, reference_video
from pvchat_jax.world.render import render_frames, render_parts
from pvchat_jax.world.staging import stage, track
from tests.synthesis.drawn import head_boxes, true_parts, video


@pytest.fixture(scope="module")
def segmenter() -> TinyBaseSegmenter:
    return TinyBaseSegmenter("tiny")


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / (found | true).sum())


@pytest.mark.parametrize("seed", [0, 5, 6, 7])  # white hair before snow, yellow hair over a yellow shirt, long hair, pigtails
def test_people_are_cut_out_along_their_outlines(segmenter: TinyBaseSegmenter, seed: int) -> None:
    found = segmenter(video(seed)[::4], head_boxes(reference_video(seed))[::4])
    true = true_parts(seed)(video(seed)[::4], head_boxes(reference_video(seed))[::4])
    assert overlap(found != Part.SCENE, true != Part.SCENE) > 0.9
    assert overlap(np.isin(found, HEAD), np.isin(true, HEAD)) > 0.88
    assert overlap(found == Part.HAIR, true == Part.HAIR) > 0.78


def test_of_two_people_the_one_with_the_head_is_cut_out(segmenter: TinyBaseSegmenter) -> None:
    plans = (plan_video(0, "test", index) for index in range(400))
    plan = next(plan for plan in plans if plan.bystander and plan.person.identity.build == plan.bystander.identity.build == "slim")
    frames, parts = render_frames(plan, frames=(2, 9)), render_parts(plan, frames=(2, 9))
    heads = track(stage(plan, (2, 9), shutter=False).people[0]).head
    found = segmenter(frames, heads)
    bystander = parts > len(PARTS)
    assert ((found != Part.SCENE) & bystander).sum() < 0.2 * bystander.sum()
    assert overlap(found != Part.SCENE, (parts > 0) & ~bystander) > 0.8


def test_pictures_of_another_size_are_cut_as_well(segmenter: TinyBaseSegmenter) -> None:
    frames, boxes = video(6)[:1], head_boxes(reference_video(6))[:1]
    large = np.clip(np.round(resize_bicubic(frames, 256, 192)), 0, 255).astype(np.uint8)
    found = segmenter(large, boxes * [1.5, 2, 1.5, 2])
    assert found.shape == (1, 256, 192)
    rows, columns = np.arange(128) * 2, np.arange(128) * 3 // 2
    assert overlap(found[:, rows[:, None], columns] != Part.SCENE, segmenter(frames, boxes) != Part.SCENE) > 0.9


def test_parts_have_the_names_of_the_world() -> None:
    assert [Part[name.upper()].value for name in CLASSES] == list(range(len(CLASSES)))
