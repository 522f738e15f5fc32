"""The pieces of work, and whose video is shown instead."""

from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.evaluation.generation import VIDEOS_AT_ONCE
from pvchat_jax.sweeps.systems import donors
from pvchat_jax.sweeps.units import make_units


@given(st.integers(1, 60))
def test_every_video_is_in_one_unit_and_none_is_alone(count: int) -> None:
    units = make_units([None] * count)
    assert sorted(member for unit in units for member in unit.members) == list(range(count))
    assert [unit.number for unit in units] == list(range(len(units)))
    assert all((2 if count > 1 else 1) <= len(unit.members) <= VIDEOS_AT_ONCE for unit in units)


def test_videos_are_mixed_the_same_way_every_time() -> None:
    """Records often come sorted by who is there; then the video that is shown instead would have the same answer."""
    units = make_units([None] * 160)
    assert units == make_units([None] * 160)
    present = [sum(member < 80 for member in unit.members) for unit in units]
    assert len(units) == 40 and sum(0 < share < VIDEOS_AT_ONCE for share in present) >= 25


@given(st.integers(0, 8), st.integers(0, 99))
def test_nobody_gets_their_own_video(count: int, seed: int) -> None:
    order = donors(count, seed)
    assert sorted(order) == (list(range(count)) if count > 1 else [])
    assert all(place != donor for place, donor in enumerate(order))
