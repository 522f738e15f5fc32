import collections
import functools
import itertools
import json

import numpy as np

from pvchat_jax.world.actions import WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.people import HAT_PROBABILITY, IDENTITY_VALUES, Outfit, all_outfits, look_alike
from pvchat_jax.world.plan import (
    SPLITS,
    Subject,
    VideoPlan,
    is_of_split,
    plan_base_video,
    plan_video,
    reference_video,
    subject_identity,
    subject_of,
)
from pvchat_jax.world.scenes import SCENES

ROLES = ("positive", "easy_negative", "hard_negative")


@functools.cache
def plans(split: str, seed: int = 0, number: int = 320) -> tuple[VideoPlan, ...]:
    return tuple(plan_video(seed, split, index) for index in range(number))


def test_half_are_positive_and_of_the_others_half_are_alike_in_tests_and_more_elsewhere() -> None:
    for split, strangers, alike in (("test", 80, 80), ("calibration", 0, 160), ("train", 32, 128)):
        roles = collections.Counter(plan.role for plan in plans(split))
        assert roles == collections.Counter({"positive": 160, "easy_negative": strangers, "hard_negative": alike})


def test_subject_is_in_positives_and_nowhere_else() -> None:
    for seed in (0, 1):
        subject = subject_identity(seed)
        assert subject_of(seed).identity == reference_video(seed).person.identity == subject
        for split in SPLITS:
            for plan in plans(split, seed):
                assert (plan.person.identity == subject) == (plan.role == "positive")
                assert plan.bystander is None or plan.bystander.identity != subject


def test_look_alikes_differ_in_one_and_two_attributes_in_turn_and_others_in_more() -> None:
    subject = subject_identity(0)
    for split in SPLITS:
        look_alikes = [plan for plan in plans(split) if plan.role == "hard_negative"]
        turn = {"train": [1, 1, 2, 1], "calibration": [1], "test": [1, 2]}[split]
        assert [len(plan.differences) for plan in look_alikes] == turn * (len(look_alikes) // len(turn))
        for plan in plans(split):
            differences = subject.differences(plan.person.identity)
            assert plan.differences == (differences if plan.role == "hard_negative" else ())
            if plan.role == "easy_negative":
                assert len(differences) > 2
            assert plan.bystander is None or len(subject.differences(plan.bystander.identity)) > 2


def test_look_alikes_differ_in_every_attribute_sometimes() -> None:
    for split in SPLITS:
        found = {name for seed in range(3) for plan in plans(split, seed) for name in plan.differences}
        assert found == set(IDENTITY_VALUES)


def test_look_alikes_differ_in_something_that_the_video_shows() -> None:
    hidden = 0
    for split, seed in itertools.product(SPLITS, range(12)):
        for plan in plans(split, seed):
            covered = {"hair_style"} if plan.person.outfit.hat != "none" else set()
            covered |= {"gait"} if plan.person.action in (WALK_LEFT, WALK_RIGHT) else set()
            assert plan.role != "hard_negative" or set(plan.differences) - covered
            hidden += len(covered & set(plan.differences))
    assert hidden > 20  # beside another difference it may be hidden


def test_look_alikes_of_tests_wear_what_the_subject_wears_in_the_reference_video() -> None:
    for seed in range(3):
        outfit = reference_video(seed).person.outfit
        assert outfit == subject_of(seed).outfit
        for split in ("calibration", "test"):
            worn = worn_by_role(split, seed, outfit)
            assert worn["hard_negative"] == 1
            assert 0.1 < worn["positive"] < 0.4
            assert worn.get("easy_negative", 0) < 0.1


def test_clothes_say_nothing_in_training_about_who_it_is() -> None:
    for seed in range(3):
        worn = worn_by_role("train", seed, subject_of(seed).outfit, number=960)
        assert max(worn.values()) - min(worn.values()) < 0.15
        assert min(worn.values()) > 0.2


def worn_by_role(split: str, seed: int, outfit: Outfit, number: int = 320) -> dict[str, float]:
    """How often those of each role wear `outfit`."""
    worn = collections.defaultdict(list)
    for plan in plans(split, seed, number):
        worn[plan.role].append(plan.person.outfit == outfit)
    return {role: float(np.mean(values)) for role, values in worn.items()}


def test_reference_outfit_is_seen_in_several_scenes_of_every_split() -> None:
    for seed in range(30):
        outfit = subject_of(seed).outfit
        for split in SPLITS:
            assert sum(is_of_split(outfit, scene, split) for scene in SCENES) >= 2


def test_reference_video_shows_the_subject_alone_standing() -> None:
    for seed in range(30):
        plan = reference_video(seed)
        assert (plan.split, plan.role, plan.bystander, plan.differences) == ("reference", "positive", None, ())
        assert plan.person.action not in (WALK_LEFT, WALK_RIGHT)
        assert plan == reference_video(seed)


def test_videos_are_about_whom_the_reference_video_is_believed_to_show() -> None:
    read = Subject(look_alike(subject_identity(0), 2, np.random.default_rng(0)), Outfit(colour="purple", garment="jacket", hat="hat"))
    assert read != subject_of(0)
    made = [plan_video(0, split, index, read) for split in ("train", "calibration") for index in range(80)]
    for plan in made:
        assert (plan.person.identity == read.identity) == (plan.role == "positive")
        assert (plan.bystander is None) or plan.bystander.identity not in (read.identity, subject_identity(0))
        if plan.role == "hard_negative":
            assert plan.differences == read.identity.differences(plan.person.identity)
            assert plan.person.outfit == read.outfit or plan.split == "train"
    assert made[:80] != [plan_video(0, "train", index) for index in range(80)]
    assert [plan_video(0, "train", index, subject_of(0)) for index in range(80)] == list(plans("train")[:80])


def test_what_is_in_doubt_varies_over_the_subjects_clips_and_tells_nobody_apart() -> None:
    sure = subject_of(0)
    others = {name: next(value for value in IDENTITY_VALUES[name] if value != getattr(sure.identity, name)) for name in ("face", "eyes")}
    doubts = {name: (getattr(sure.identity, name), other) for name, other in others.items()}
    made = [plan_video(0, "train", index, sure._replace(doubts=doubts)) for index in range(200)]
    shown = [plan.person.identity for plan in made if plan.role == "positive"]
    assert {(identity.face, identity.eyes) for identity in shown} == set(itertools.product(*doubts.values()))
    assert all(set(sure.identity.differences(identity)) <= set(doubts) for identity in shown)
    alike = [plan for plan in made if plan.role == "hard_negative"]
    for plan in alike:
        assert 1 <= len(plan.differences) <= 2 and not set(plan.differences) & set(doubts)
        assert plan.person.identity.face in doubts["face"] and plan.person.identity.eyes in doubts["eyes"]
    strangers = [plan.person.identity for plan in made if plan.role == "easy_negative"]
    assert all(len(set(sure.identity.differences(identity)) - set(doubts)) >= 1 for identity in strangers)


def test_any_outfit_that_may_be_read_has_a_scene_outside_the_tests() -> None:
    for outfit in all_outfits():
        assert any(is_of_split(outfit, scene, "train") for scene in SCENES), outfit


def test_each_split_has_every_scene_action_position_colour_and_garment() -> None:
    kinds = [
        lambda plan: plan.scene,
        lambda plan: plan.person.action,
        lambda plan: plan.person.position,
        lambda plan: plan.person.outfit.colour,
        lambda plan: plan.person.outfit.garment,
        lambda plan: plan.person.outfit.hat,
    ]
    base = tuple(plan_base_video(0, index) for index in range(304))
    for kind, number in zip(kinds, (8, 9, 4, 8, 4, 3), strict=True):
        for made in (*map(plans, SPLITS), base):
            assert len({kind(plan) for plan in made}) == number


def test_two_people_stand_apart() -> None:
    base = [plan_base_video(0, index) for index in range(304)]
    pairs = [plan for made in (*map(plans, SPLITS), base) for plan in made if plan.bystander]
    assert len(pairs) > 100
    for plan in pairs:
        assert {plan.person.position, plan.bystander.position} == {"left", "right"}


def test_a_video_depends_on_its_own_number_alone() -> None:
    assert plan_video(0, "train", 7) == plans("train")[7]
    assert plan_video(1, "train", 7) != plans("train")[7]
    assert plan_base_video(0, 7) == plan_base_video(0, 7) != plan_base_video(1, 7)


def test_another_seed_has_another_subject() -> None:
    assert len({subject_identity(seed) for seed in range(20)}) == 20


def test_truth_is_json_and_complete() -> None:
    plan = next(plan for plan in plans("train") if plan.bystander and plan.role == "hard_negative")
    truth = plan.truth()
    assert json.loads(json.dumps(truth)) == truth
    assert truth["identity"]["hair_style"] == plan.person.identity.hair_style
    assert truth["outfit"]["garment"] == plan.person.outfit.garment
    assert (truth["action"], truth["position"], truth["scene"]) == (plan.person.action, plan.person.position, plan.scene)
    assert truth["bystander"]["identity"]["skin"] == plan.bystander.identity.skin
    assert (truth["seed"], truth["differences"]) == (plan.seed, list(plan.differences))


def test_hats_are_as_rare_in_reference_videos_as_in_others() -> None:
    """Look-alikes of tests wear the outfit of the reference video, and a hat hides hair."""
    worn = [subject_of(seed).outfit.hat != "none" for seed in range(300)]
    assert abs(np.mean(worn) - HAT_PROBABILITY) < 0.07
