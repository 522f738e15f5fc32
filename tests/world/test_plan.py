import collections
import functools
import json

from pvchat_jax.world.plan import SPLITS, Person, VideoPlan, plan_video, subject_identity


@functools.cache
def plans(split: str, seed: int = 0, number: int = 300) -> tuple[VideoPlan, ...]:
    return tuple(plan_video(seed, split, index) for index in range(number))


def people(plan: VideoPlan) -> list[Person]:
    return [plan.person, plan.bystander] if plan.bystander else [plan.person]


def test_half_are_positive_and_negatives_are_half_alike() -> None:
    for split in SPLITS:
        assert collections.Counter(plan.role for plan in plans(split)) == {"positive": 150, "easy_negative": 75, "hard_negative": 75}


def test_subject_is_in_positives_and_nowhere_else() -> None:
    for seed in (0, 1):
        subject = subject_identity(seed)
        for split in SPLITS:
            for plan in plans(split, seed):
                assert (plan.person.identity == subject) == (plan.role == "positive")
                assert plan.bystander is None or plan.bystander.identity != subject


def test_look_alikes_differ_in_two_or_three_attributes_and_others_in_more() -> None:
    subject = subject_identity(0)
    for plan in [*plans("train"), *plans("test")]:
        differences = subject.differences(plan.person.identity)
        assert plan.differences == (differences if plan.role == "hard_negative" else ())
        if plan.role == "hard_negative":
            assert len(differences) in (2, 3)
        if plan.role == "easy_negative":
            assert len(differences) > 3


def test_splits_share_no_seed_no_other_person_and_no_outfit_in_the_same_scene() -> None:
    train, test = plans("train"), plans("test")
    subject = subject_identity(0)

    def others(split: tuple[VideoPlan, ...]) -> set:
        return {person.identity for plan in split for person in people(plan)} - {subject}

    def dressed(split: tuple[VideoPlan, ...]) -> set:
        return {(person.outfit, plan.scene) for plan in split for person in people(plan)}

    assert not others(train) & others(test)
    assert not dressed(train) & dressed(test)
    seeds = [plan.seed for plan in (*train, *test)]
    assert len(set(seeds)) == len(seeds)


def test_each_split_has_every_scene_action_position_colour_and_garment() -> None:
    kinds = [
        lambda plan: plan.scene,
        lambda plan: plan.person.action,
        lambda plan: plan.person.position,
        lambda plan: plan.person.outfit.colour,
        lambda plan: plan.person.outfit.garment,
        lambda plan: plan.person.outfit.hat,
    ]
    for kind, number in zip(kinds, (8, 9, 4, 8, 4, 3), strict=True):
        for split in SPLITS:
            assert len({kind(plan) for plan in plans(split)}) == number


def test_two_people_stand_apart() -> None:
    pairs = [plan for split in SPLITS for plan in plans(split) if plan.bystander]
    assert len(pairs) > 20
    for plan in pairs:
        assert {plan.person.position, plan.bystander.position} == {"left", "right"}


def test_a_video_depends_on_its_own_number_alone() -> None:
    assert plan_video(0, "train", 7) == plans("train")[7]
    assert plan_video(1, "train", 7) != plans("train")[7]


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
