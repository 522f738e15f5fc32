"""Which stretches of filmed videos become clips."""

import dataclasses

from pvchat_jax.synthesis.watch.filming import plan_windows
from tests.synthesis.made import member, person


def negative(digest: str, role: str, index: int):
    return member(digest, role=role, who=person(index=index))


def test_a_stretch_that_shows_two_others_is_one_clip_of_the_one_who_is_more_alike():
    others = [negative("2", "hard_negative", 0), negative("2", "easy_negative", 1), negative("3", "easy_negative", 0)]
    planned = plan_windows(member("1"), others, seconds=2.0, count=2)
    cut = [(window.member.source.sha256, window.member.role, window.start) for _, window in planned[2:]]
    assert [name[:2] for name in cut] == [("2", "hard_negative")] * 2 + [("3", "easy_negative")] * 2
    assert len(set(cut)) == 4


def test_others_are_not_cut_out_while_the_subject_is_seen():
    subject = member("9", split="test", who=person(0.0, 4.0))
    beside = dataclasses.replace(negative("9", "easy_negative", 1), split="test")
    planned = plan_windows(member("1"), [subject, beside], seconds=2.0, count=4)
    alone = [window for _, window in planned if window.member == beside]
    assert alone and all(window.start > 3.75 for window in alone)
