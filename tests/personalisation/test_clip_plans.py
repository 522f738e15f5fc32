"""Who is in the clips that are made of cut-out people."""

import collections

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.personalisation.clip_plans import cast_of, plan_clips, seen_in, sort_corpus
from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.world.plan import SUBJECT
from tests.personalisation import drawn_people

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def people() -> list[CutPerson]:
    return drawn_people.people()


def test_who_may_be_the_subject_is_no_negative(people: list[CutPerson]) -> None:
    bands = sort_corpus(people[0], people)
    assert [[one.member.key for one in band] for band in bands] == [["6", "7"], ["8"], ["9", "10"]]


def test_the_threshold_is_chosen_on_people_whom_training_does_not_show(people: list[CutPerson]) -> None:
    corpus = [people[1]._replace(member=people[1].member._replace(key=f"{number:x}")) for number in range(100)]
    train, calibration = ({one.member.key for one in cast_of(split, corpus)} for split in ("train", "calibration"))
    assert len(train) == 80 and len(calibration) == 20 and not train & calibration
    assert cast_of("train", corpus[:40]) == cast_of("calibration", corpus[:40]) == corpus[:40]  # too few to keep any


def test_the_threshold_is_chosen_on_frames_that_training_does_not_show(people: list[CutPerson]) -> None:
    whole = people[0].member.cut
    train, calibration = (seen_in(split, people[0]).member.cut for split in ("train", "calibration"))
    assert np.array_equal(np.concatenate([train.frames, calibration.frames]), whole.frames) and len(train.frames) == 3
    assert np.array_equal(calibration.boxes, whole.boxes[3:]) and calibration.clear.tolist() == [0]


def test_a_corpus_of_look_alikes_alone_is_refused(people: list[CutPerson]) -> None:
    with pytest.raises(UserError, match="corpus"):
        sort_corpus(people[0], people[:4])


def test_the_subjects_head_on_another_figure_is_somebody_else(people: list[CutPerson]) -> None:
    subject = people[0]
    assert set(subject.other_figures) == {"broad/steady", "slim/rolling", "slim/stooped"}
    plans = plan_clips("train", 400, subject, sort_corpus(subject, people), ["broad/steady"], 0)
    own_heads = [plan for plan in plans if plan.person is subject and plan.cast.performer.outline == subject.member.outline]
    invented = [plan for plan in own_heads if plan.grade != SUBJECT and plan.cast.exchange is None]
    assert invented
    assert all(plan.grade == 1 and plan.cast.performer.figure == "broad/steady" and not plan.cast.performer.own_body for plan in invented)
    assert collections.Counter(plan.grade for plan in plans) == {SUBJECT: 200, 1: 120, 2: 40, 0: 40}


def test_look_alikes_are_made_of_two_faces_of_one_shape_and_skin(people: list[CutPerson]) -> None:
    subject, bands = people[0], sort_corpus(people[0], people)
    plans = plan_clips("train", 200, subject, bands, [], 0)
    made = [plan for plan in plans if plan.cast.exchange is not None]
    assert {plan.grade for plan in made} == {1} and {plan.cast.exchange.region for plan in made} == {"eyes", "lower", "face"}
    for plan in made:
        keys = {plan.cast.performer.key, next(one.member.key for one in people if one.member.cut is plan.cast.exchange.donor)}
        assert subject.member.key in keys and len(keys) == 2  # one of them is the subject, with another one's eyes or hair
        assert (plan.cast.exchange.region == "face") == (
            plan.cast.exchange.donor is subject.member.cut
        ) and plan.cast.performer.figure == subject.member.figure
    same = [one._replace(member=one.member._replace(features=subject.member.features)) for one in people]
    assert not [plan for plan in plan_clips("train", 100, same[0], sort_corpus(same[0], same), [], 0) if plan.cast.exchange]


def test_look_alikes_get_the_outline_of_other_heads_and_hats_that_fit(people: list[CutPerson]) -> None:
    subject = people[0]
    plans = plan_clips("train", 200, subject, sort_corpus(subject, people), [], 0)
    made = [plan for plan in plans if plan.cast.performer.outline != subject.member.outline and plan.person is subject]
    assert made and {plan.grade for plan in made} == {1} and {plan.cast.exchange for plan in made} == {None}
    assert {(plan.cast.performer.outline, plan.cast.performer.head) for plan in made} == {(drawn_people.OTHER_OUTLINE, "long")}


def test_every_clip_of_the_subject_is_like_one_of_somebody_else(people: list[CutPerson]) -> None:
    plans = plan_clips("train", 100, people[0], sort_corpus(people[0], people), ["broad/steady"], 0)
    models = [plan.like for plan in plans if plan.grade == SUBJECT]
    assert models == [plan.cast for plan in plans if plan.grade != SUBJECT]
    assert all(plan.like is None for plan in plans if plan.grade != SUBJECT)
