"""Who is in the clips that are made of cut-out people, and what is asked about them."""

import collections
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.data.records import load_records
from pvchat_jax.errors import UserError
from pvchat_jax.personalisation.composited_clips import cast_of, composite_clips, plan_clips, seen_in, sort_corpus
from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.generators.cutouts import cut_out
from pvchat_jax.synthesis.making.showing import Known
from pvchat_jax.world.people import IDENTITY_VALUES, Identity
from pvchat_jax.world.plan import SUBJECT, reference_video
from tests.synthesis.drawn import head_boxes, true_parts, video

pytest.importorskip("cv2")
SEEDS = (5, 6, 7, 8, 9, 10, 12)


def embedding(identity: Identity) -> np.ndarray:
    parts = [np.eye(len(values))[values.index(getattr(identity, name))] for name, values in IDENTITY_VALUES.items()]
    return np.concatenate(parts).astype(np.float32) / 3


def person(seed: int, similarity: float | None = None) -> CutPerson:
    """The person of a reference video; `similarity` to the one of world 5 instead of the true one."""
    plan = reference_video(seed)
    described = embedding(plan.person.identity)
    if similarity is not None:
        described = similarity * embedding(reference_video(5).person.identity)
    cut = cut_out(video(seed)[::4], head_boxes(plan)[::4], true_parts(seed))
    features = {name: f"{name} of {seed}" for name in ("eyes", "lower", "hair")}
    member = Member(str(seed), "slim/steady", plan.scene, cut, head="round", skin="pale", features=features)
    return CutPerson(member, described, Known(None, plan.truth(), moves_right=False))


@pytest.fixture(scope="module")
def people() -> list[CutPerson]:
    alike = {5: None, 6: 0.9, 7: 0.85, 8: 0.8, 9: 0.3, 10: 0.2, 12: 0.98}
    return [person(seed, similarity) for seed, similarity in alike.items()]


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
    plans = plan_clips("train", 100, subject, sort_corpus(subject, people), ["broad/steady"], 0)
    invented = [plan for plan in plans if plan.person is subject and plan.grade != SUBJECT and plan.exchange is None]
    assert invented
    assert all(plan.grade == 1 and plan.member.figure == "broad/steady" and not plan.member.own_body for plan in invented)
    assert collections.Counter(plan.grade for plan in plans) == {SUBJECT: 50, 1: 30, 2: 10, 0: 10}


def test_look_alikes_are_made_of_two_faces_of_one_shape_and_skin(people: list[CutPerson]) -> None:
    subject, bands = people[0], sort_corpus(people[0], people)
    plans = plan_clips("train", 200, subject, bands, [], 0)
    made = [plan for plan in plans if plan.exchange is not None]
    assert {plan.grade for plan in made} == {1} and {plan.exchange.region for plan in made} == {"eyes", "lower", "face"}
    for plan in made:
        keys = {plan.member.key, next(one.member.key for one in people if one.member.cut is plan.exchange.donor)}
        assert subject.member.key in keys and len(keys) == 2  # one of them is the subject, with another one's eyes or hair
        assert (plan.exchange.region == "face") == (
            plan.exchange.donor is subject.member.cut
        ) and plan.member.figure == subject.member.figure
    same = [one._replace(member=one.member._replace(features=subject.member.features)) for one in people]
    assert not [plan for plan in plan_clips("train", 100, same[0], sort_corpus(same[0], same), [], 0) if plan.exchange]


def test_clips_are_written_with_questions_that_their_sources_answer(people: list[CutPerson], tmp_path: Path) -> None:
    settings = {"name": "<Ann>", "numbers": {"train": 20}, "num_frames": 4, "seed": 1}
    folders = (tmp_path / "first", tmp_path / "second")
    made = [composite_clips(folder, people[0], people[1:], progress=lambda done, total: None, **settings)["train"] for folder in folders]
    first, second = (load_records(path, "<Ann>") for path in made)
    assert [record.sha256 for record in first] == [record.sha256 for record in second]
    assert collections.Counter(record.role for record in first) == {"positive": 10, "hard_negative": 8, "easy_negative": 2}
    worn = {one.member.key: one.known.truth["outfit"] for one in people}
    for record in first:
        assert record.origin == "composited" and Path(record.video).is_file()
        if record.present:
            appearance = next(question.answer for question in record.questions if question.type == "appearance")
            assert worn[record.truth["clothes"]]["colour"] in appearance and worn[record.truth["body"]]["garment"] in appearance
