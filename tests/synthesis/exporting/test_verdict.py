import dataclasses

import pytest

from pvchat_jax.synthesis.exporting.statistics import count
from pvchat_jax.synthesis.exporting.verdict import judge
from pvchat_jax.synthesis.watch.filming import plan_windows
from tests.synthesis.made import QUALITY, good_clips, member, person, training_set, used_clip


def verdict(made, findings=()):
    return judge(made, count(made), findings, ())


def test_a_good_set_is_good():
    found = verdict(training_set([*good_clips(), used_clip("t", split="test", source="3", origin="real")]))
    assert found.is_good and not found.remarks and not found.film_next, found


@pytest.mark.parametrize(
    ("clips", "problem"),
    [
        (good_clips()[8:], "only 8 training clips show the subject"),
        (good_clips()[:20], "only 4 training clips show other people"),
        (good_clips() + [used_clip(f"more{index}") for index in range(40)], "more than 3 to 1"),
        ([*good_clips(), used_clip("t", split="test", source="1", origin="real")], "was trained on as well"),
        ([dataclasses.replace(used, questions=used.questions[1:]) for used in good_clips()], "existence are not asked"),
    ],
)
def test_what_stands_in_the_way_is_a_problem(clips, problem):
    found = verdict(training_set(clips))
    assert not found.is_good and any(problem in text for text in found.problems), found


def test_a_finding_of_the_validator_is_a_problem():
    assert not verdict(training_set(good_clips()), ["train.jsonl, line 3: a text is wrong"]).is_good


def test_a_tool_that_makes_one_label_alone_is_remarked():
    clips = good_clips() + [used_clip(f"w{index}", tool="wan/1") for index in range(4)]
    assert any("every training clip of wan/1 is labelled 'present'" in text for text in verdict(training_set(clips)).remarks)


def test_no_look_alikes_and_no_test_are_remarked():
    clips = [dataclasses.replace(used, clip=dataclasses.replace(used.clip, role="easy_negative")) for used in good_clips()[16:]]
    remarks = verdict(training_set(good_clips()[:16] + clips)).remarks
    assert any("nobody in training looks like" in text for text in remarks) and any("no test set" in text for text in remarks)


@pytest.mark.parametrize(
    ("who", "advice"),
    [
        (person(end=1.0), "at least 20 s of the person"),
        (person(quality=QUALITY | {"sharpness": 0.1}), "hold the camera still"),
        (person(quality=QUALITY | {"frontalness": 0.1}), "look into the camera"),
        (person(quality=QUALITY | {"size": 0.1}), "go closer"),
        (person(quality=QUALITY | {"exposure": 0.1}), "even daylight"),
    ],
)
def test_what_to_film_next_follows_from_what_the_video_lacks(who, advice):
    assert any(advice in text for text in verdict(training_set(good_clips(), who=who)).film_next)


def test_few_clips_that_pass_mean_filming_from_more_sides():
    rejected = tuple(
        dataclasses.replace(used_clip(f"r{index}").clip, rejected=f"similarity 0.{index}", checks={"rejected_as": "drift"})
        for index in range(80)
    )
    made = training_set(good_clips(), rejected=rejected)
    assert count(made).rejected == {"drift": 80}
    assert any("several sides" in text for text in verdict(made).film_next)


def test_filmed_clips_of_others_do_not_show_the_subject_and_the_subject_has_no_more_than_they():
    subject = member("1", who=person(0, 8))
    bystander = member("1", role="easy_negative", who=person(5, 16, index=1))
    stranger = member("2", role="easy_negative", who=person(0, 4))
    planned = plan_windows(subject, [bystander, stranger], seconds=2.0, count=4)
    windows = {"own": [], "bystander": [], "stranger": []}
    for split, window in planned:
        assert split == "train"
        name = "own" if window.member is subject else "bystander" if window.member is bystander else "stranger"
        windows[name].append(window)
    assert windows["bystander"] and all(window.start > 7.7 for window in windows["bystander"])
    assert len(windows["own"]) <= len(windows["bystander"]) + len(windows["stranger"])
    assert len(plan_windows(subject, [], seconds=2.0, count=4)) == 1
    assert plan_windows(subject, [stranger], seconds=2.0, count=0) == []


def test_a_threshold_split_has_no_filmed_clips():
    subject = member("1")
    planned = plan_windows(subject, [member("2", role="easy_negative", split="calibration")], seconds=2.0, count=4)
    assert [window.member for _, window in planned] == [subject]
