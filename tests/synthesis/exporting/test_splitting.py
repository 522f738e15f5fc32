import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.exporting.splitting import find_crossings, require_other_videos, split_others
from pvchat_jax.synthesis.making.slots import plan_slots
from pvchat_jax.synthesis.records import Source
from tests.synthesis.made import member, source, used_clip


@given(st.sets(st.text("0123456789abcdef", min_size=4, max_size=4), max_size=40), st.integers(0, 3))
def test_a_source_has_one_split_which_does_not_depend_on_the_order(digests, seed):
    splits = split_others(sorted(digests), calibration_share=0.2, test_share=0.3, seed=seed)
    assert splits == split_others(sorted(digests, reverse=True), calibration_share=0.2, test_share=0.3, seed=seed)
    assert set(splits) == digests
    counts = [list(splits.values()).count(name) for name in ("calibration", "test")]
    assert counts == [int(len(digests) * 0.2), int(len(digests) * 0.3)]


def test_a_single_other_person_is_for_training():
    assert split_others(["ab"], calibration_share=0.3, test_share=0.6, seed=0) == {"ab": "train"}


def test_crossings_are_named():
    train, test = used_clip("a", split="train", source="1"), used_clip("b", split="test", source="2", origin="real")
    assert find_crossings([train, test]) == []
    assert "not filmed" in find_crossings([train, used_clip("c", split="test", source="2", origin="composited")])[0]
    assert "trained on" in find_crossings([train, used_clip("d", split="test", source="1", origin="real")])[0]


def test_a_copy_of_the_one_video_is_no_test():
    one: Source = source("1")
    require_other_videos(one, [source("2")])
    with pytest.raises(UserError, match="which is trained on"):
        require_other_videos(one, [dataclasses.replace(one, video="/other/name.mp4")])


def test_half_of_the_slots_show_the_subject_and_pairs_share_prompt_and_generator():
    others = [member("2", role="hard_negative"), member("3", role="easy_negative"), member("4", role="easy_negative")]
    slots = plan_slots(member("1"), others, {"train": 40}, num_generators=3, hard_share=0.5)
    assert [slot.role for slot in slots].count("positive") == 20
    assert [slot.role for slot in slots].count("hard_negative") == 10
    pairs = [slots[index : index + 2] for index in range(0, 40, 2)]
    assert all((a.generator, a.prompt_seed(0, 0)) == (b.generator, b.prompt_seed(0, 0)) and a.seed(0, 0) != b.seed(0, 0) for a, b in pairs)
    assert all(a.counterpart == b and b.counterpart is None for a, b in pairs)
    assert len({slot.key for slot in slots}) == 40
    used = [slot.member.source.sha256 for slot in slots if slot.role == "easy_negative"]
    assert used.count("3") == used.count("4") == 5


def test_calibration_has_people_of_its_own_where_there_are_any():
    others = [member("2", role="easy_negative"), member("3", role="easy_negative", split="calibration")]
    slots = plan_slots(member("1"), others, {"train": 4, "calibration": 4}, num_generators=1, hard_share=0.5)
    of = {split: {slot.member.source.sha256 for slot in slots if slot.split == split} for split in ("train", "calibration")}
    assert of == {"train": {"1", "2"}, "calibration": {"1", "3"}}
    borrowed = plan_slots(member("1"), others[:1], {"calibration": 2}, num_generators=1, hard_share=0.5)
    assert {slot.member.source.sha256 for slot in borrowed} == {"1", "2"}
    (alone,) = plan_slots(member("1"), [], {"calibration": 2}, num_generators=1, hard_share=0.5)
    assert alone.counterpart is None
