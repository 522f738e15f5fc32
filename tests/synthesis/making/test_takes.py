"""What attempts at a slot are to be like."""

from pvchat_jax.synthesis.making.slots import plan_slots
from pvchat_jax.synthesis.making.takes import plan_take
from tests.synthesis.fakes import scene_prompt
from tests.synthesis.made import member


def test_all_attempts_are_like_the_one_that_passed_for_the_counterpart():
    positive, negative = plan_slots(member("1"), [member("2", role="easy_negative")], {"train": 2}, num_generators=1, hard_share=0.5)
    takes = [plan_take(positive, attempt, {negative.key: 2}, 0, scene_prompt) for attempt in range(3)]
    passed = plan_take(negative, 2, {}, 0, scene_prompt)
    assert {take.counterpart for take in takes} == {("2", passed.seed)} and {take.prompt for take in takes} == {passed.prompt}
    assert len({take.seed for take in takes}) == 3 and passed.counterpart is None
    assert plan_take(negative, 0, {}, 0, scene_prompt).seed != passed.seed
