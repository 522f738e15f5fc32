"""The truth per frame is what is drawn: boxes, light and camera are measured in the pixels."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from pvchat_jax.world import render, staging
from pvchat_jax.world.actions import ACTIONS, GAITS
from pvchat_jax.world.figure import SKIN
from pvchat_jax.world.people import Identity, Outfit
from pvchat_jax.world.plan import Person, VideoPlan, plan_base_video, plan_video
from pvchat_jax.world.render import render_frames
from pvchat_jax.world.staging import NUM_FRAMES, SLOW_SHUTTER_PROBABILITY, frame_truth, stage, track

PLAIN = Identity(
    skin="tan",
    hair_colour="black",
    hair_style="short",
    face="square",
    eyes="brown",
    facial_hair="none",
    mark="none",
    build="slim",
    gait="steady",
)
FRAMES = (0, 5, 10, 15)
SIZE = 128
BLURRED = next(plan for index in range(50) if stage(plan := plan_base_video(0, index)).num_exposures > 1 and plan.bystander)


def sharp(action: str = "stand", position: str | None = "centre", seed: int = 0, **identity: str) -> VideoPlan:
    """A video without blur of one person."""
    person = Person(
        identity=dataclasses.replace(PLAIN, **identity),
        outfit=Outfit(colour="green", garment="shirt"),
        action=action,
        position=None if action.startswith("walk") else position,
    )
    made = (
        VideoPlan(split="train", index=0, seed=number, role="positive", scene="kitchen", person=person, bystander=None, differences=())
        for number in itertools.count(seed)
    )
    return next(plan for plan in made if stage(plan).num_exposures == 1)


def changed(first: VideoPlan, second: VideoPlan) -> np.ndarray:
    """Where two videos differ: bool[T, H, W] of `FRAMES`."""
    pictures = [render_frames(plan, frames=FRAMES).astype(int) for plan in (first, second)]
    return np.abs(pictures[0] - pictures[1]).max(-1) > 25


def wearing(plan: VideoPlan, **looks: str) -> VideoPlan:
    person = plan.person
    return dataclasses.replace(plan, person=dataclasses.replace(person, identity=dataclasses.replace(person.identity, **looks)))


def extent(mask: np.ndarray, axis: int) -> tuple[int, int]:
    """First and last index along `axis` (0 rows, 1 columns) at which `mask` is true."""
    found = np.flatnonzero(mask.any(1 - axis))
    return found[0], found[-1] + 1


@pytest.mark.parametrize("gait", GAITS)
@pytest.mark.parametrize("action", sorted({*ACTIONS} - {"raise arms", "wave"}))  # in these, sleeves pass in front of the face
def test_head_box_is_where_the_head_is_drawn(action: str, gait: str) -> None:
    plan = sharp(action, gait=gait)
    hair = changed(plan, wearing(plan, hair_colour="pink"))
    beard = changed(wearing(plan, facial_hair="beard"), wearing(plan, facial_hair="beard", hair_colour="pink")) & ~hair
    skin = changed(plan, wearing(plan, skin="dark"))
    for number, frame in enumerate(FRAMES):
        left, top, right, bottom = (SIZE * share for share in frame_truth(plan)["head"][frame])
        middle = round((top + bottom) / 2)
        assert abs(extent(hair[number], 0)[0] - (top - 5.5)) < 2.5  # the hair is that much higher than the skull
        assert abs(extent(beard[number], 0)[1] - (bottom + 1.5)) < 2.5
        ears = extent(skin[number, middle : middle + 9], 1)
        if left > 5 and right < SIZE - 5:
            assert np.abs(np.subtract(ears, (left - 4.5, right + 4.5))).max() < 2.5


@pytest.mark.parametrize("position", ["left", "centre", "right"])
def test_head_box_has_the_colour_of_the_skin(position: str) -> None:
    plan = sharp(position=position)
    pictures = render_frames(plan) / 255.0
    truth = frame_truth(plan)
    for picture, box, brightness in zip(pictures, truth["head"], truth["brightness"], strict=True):
        left, top, right, bottom = (round(SIZE * share) for share in box)
        cheeks = picture[(top + bottom) // 2 + 6 : bottom - 3, left + 6 : right - 6] / brightness
        is_skin = np.abs(cheeks - np.asarray(SKIN["tan"])).max(-1) < 0.15
        assert is_skin.mean() > 0.6


def test_what_a_person_changes_lies_in_the_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hair and elbows reach at most 24 units beyond the body's box."""
    for plan in [sharp(position=position, gait=gait) for position in ("left", "right") for gait in GAITS] + [sharp("walk left")]:
        with_person = render_frames(plan, frames=FRAMES).astype(int)
        with monkeypatch.context() as patch:
            patch.setattr(render, "draw_person", lambda canvas, placed: None)
            without = render_frames(plan, frames=FRAMES).astype(int)
        difference = np.abs(with_person - without).max(-1) > 8
        boxes = track(stage(plan, FRAMES).people[0]).body
        for mask, (left, top, right, bottom) in zip(difference, boxes, strict=True):
            (first_row, last_row), (first_column, last_column) = extent(mask, 0), extent(mask, 1)
            assert top - 8 < first_row <= top + 2
            assert last_row == SIZE == bottom
            assert max(left, 0) - 24 < first_column <= max(left, 0) + 2
            assert min(right, SIZE) - 2 <= last_column < min(right, SIZE) + 24


def test_each_of_two_people_has_boxes_of_their_own() -> None:
    plan = next(plan for index in range(80) if (plan := plan_base_video(3, index)).bystander and stage(plan).num_exposures == 1)
    truth = frame_truth(plan)
    for who, key in (("person", "head"), ("bystander", "bystander_head")):
        someone = getattr(plan, who)
        other_eyes = dataclasses.replace(someone.identity, eyes="green" if someone.identity.eyes != "green" else "brown")
        mask = changed(plan, dataclasses.replace(plan, **{who: dataclasses.replace(someone, identity=other_eyes)}))
        for number, frame in enumerate(FRAMES):
            left, top, right, bottom = (SIZE * share for share in truth[key][frame])
            rows, columns = np.nonzero(mask[number])
            if len(rows):  # the person in front may hide the bystander's eyes
                assert (left - 3 < columns).all() and (columns < right + 3).all()
                assert (top < rows).all() and (rows < bottom).all()
        assert mask.any()
    assert frame_truth(sharp())["bystander_head"] is None


def test_brightness_is_that_of_the_picture() -> None:
    plan = sharp()
    truth = frame_truth(plan)
    assert np.ptp(truth["brightness"]) > 0.02
    chest = render_frames(plan)[:, 118:124, 54:74].mean((1, 2, 3))
    np.testing.assert_allclose(chest / truth["brightness"], chest.mean() / np.mean(truth["brightness"]), rtol=0.015)


def test_camera_is_the_shift_of_the_background() -> None:
    plan = sharp(position="right", seed=40)
    shifts = SIZE * np.asarray(frame_truth(plan)["camera"])
    light = np.asarray(frame_truth(plan)["brightness"])[:, None, None, None]
    pictures = render_frames(plan)[:, :80, :40] / light
    first, last = int(np.argmin(shifts)), int(np.argmax(shifts))
    assert shifts[last] - shifts[first] > 3
    candidates = range(-8, 9)
    errors = [np.abs(pictures[first][:, 8 + shift : 32 + shift] - pictures[last][:, 8:32]).mean() for shift in candidates]
    assert abs(candidates[int(np.argmin(errors))] - (shifts[last] - shifts[first])) < 1


def test_some_frames_are_staged_as_in_the_whole_video() -> None:
    plan = plan_video(1, "test", 3)
    whole, some = stage(plan, shutter=False), stage(plan, (4, 9), shutter=False)
    np.testing.assert_array_equal(some.camera, whole.camera[[4, 9]])
    np.testing.assert_array_equal(track(some.people[0]).head, track(whole.people[0]).head[[4, 9]])


def test_truth_is_json_for_every_frame_and_the_same_each_time() -> None:
    for index in range(8):
        plan = plan_video(2, "train", index)
        truth = frame_truth(plan)
        assert json.loads(json.dumps(truth)) == truth == frame_truth(plan)
        for name in ("head", "brightness", "camera"):
            assert len(truth[name]) == NUM_FRAMES
        assert (truth["bystander_head"] is None) == (plan.bystander is None)


def test_a_fifth_of_the_videos_has_a_slow_shutter() -> None:
    slow = np.mean([stage(plan_base_video(0, index), (0,)).num_exposures > 1 for index in range(600)])
    assert abs(slow - SLOW_SHUTTER_PROBABILITY) < 0.05


def test_slow_shutter_blurs_what_moves_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = []
    for delay in staging.SLOW_SHUTTER:
        with monkeypatch.context() as patch:
            patch.setattr(staging, "SLOW_SHUTTER", (delay,))
            moments.append(render_frames(BLURRED, frames=FRAMES).astype(int))
    first, last = moments
    blurred = render_frames(BLURRED, frames=FRAMES).astype(int)
    assert (np.abs(first - last) > 40).any()
    assert (np.abs(2 * blurred - first - last) <= 2).all()
    moved = (first != last).any(-1)
    np.testing.assert_array_equal(blurred[~moved], first[~moved])
    assert (~moved).mean() > 0.05


def test_truth_of_a_blurred_video_is_that_of_the_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = frame_truth(BLURRED)
    assert len(truth["head"]) == NUM_FRAMES
    monkeypatch.setattr(staging, "SLOW_SHUTTER_PROBABILITY", 0.0)
    assert frame_truth(BLURRED) == truth
    whole = stage(BLURRED)
    assert whole.num_exposures == 1
    np.testing.assert_allclose(truth["camera"], whole.camera / 128.0, atol=1e-4)
