"""Intervals: disjoint, inside what was looked at, backed by the probabilities, and steady under small gaps."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.timeline.intervals import IntervalOptions, ScoredWindow, intervals_of, slices_of

OPTIONS = IntervalOptions(enter=0.6, leave=0.4, bridge=1.0, shortest=1.0)


def windows(*probabilities: float, start: float = 0.0) -> list[ScoredWindow]:
    """Windows of 2 s, one each second."""
    return [ScoredWindow(start + index, start + index + 2, p, start + index + 1) for index, p in enumerate(probabilities)]


def spans(found: list) -> list[tuple[float, float]]:
    return [(interval.start, interval.end) for interval in found]


any_windows = st.lists(
    st.builds(
        lambda start, length, p: ScoredWindow(start, start + length, p, start + length / 2),
        st.integers(0, 40).map(lambda number: number / 2),
        st.sampled_from([0.5, 2.0, 3.0]),
        st.floats(0, 1),
    ),
    max_size=25,
)


@given(any_windows, st.randoms())
@settings(max_examples=100, deadline=None)
def test_intervals_are_disjoint_and_backed_by_what_was_said(scored: list[ScoredWindow], random: object) -> None:
    found = intervals_of(scored, OPTIONS)
    for before, after in itertools.pairwise(found):
        assert after.start - before.end > OPTIONS.bridge
    for interval in found:
        inside = [piece for piece in slices_of(scored) if interval.start <= piece.start and piece.end <= interval.end]
        assert max(piece.probability for piece in inside) >= OPTIONS.enter
        assert (
            min(piece.probability for piece in inside) - 1e-9 <= interval.probability <= max(piece.probability for piece in inside) + 1e-9
        )
        assert inside[0].probability >= OPTIONS.leave and inside[-1].probability >= OPTIONS.leave
        assert interval.start <= interval.best <= interval.end
    shuffled = list(scored)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert spans(intervals_of(shuffled, OPTIONS)) == spans(found)


@given(any_windows)
@settings(max_examples=50, deadline=None)
def test_asking_for_more_finds_no_more_time(scored: list[ScoredWindow]) -> None:
    strict = intervals_of(scored, IntervalOptions(enter=0.9, leave=0.4, bridge=0.0, shortest=0.0))
    loose = intervals_of(scored, IntervalOptions(enter=0.5, leave=0.4, bridge=0.0, shortest=0.0))
    assert set(spans(strict)) <= set(spans(loose))


def test_a_dip_does_not_break_an_interval_and_a_lone_half_sure_window_makes_none() -> None:
    assert spans(intervals_of(windows(0, 0.9, 0.9, 0.3, 0.9, 0.9, 0), OPTIONS)) == [(1, 7)]
    assert spans(intervals_of(windows(0, 0, 0.7, 0, 0), OPTIONS)) == []


def test_a_hole_longer_than_the_bridge_parts_two_intervals() -> None:
    assert spans(intervals_of([*windows(0.9, 0.9), *windows(0.9, 0.9, start=3.5)], OPTIONS)) == [(0, 6.5)]
    assert spans(intervals_of([*windows(0.9, 0.9), *windows(0.9, 0.9, start=30)], OPTIONS)) == [(0, 3), (30, 33)]


def test_a_video_shorter_than_the_shortest_interval_may_be_one() -> None:
    assert spans(intervals_of([ScoredWindow(0, 0.4, 0.9, 0.2)], OPTIONS)) == [(0, 0.4)]


def test_the_picture_is_of_the_most_probable_window() -> None:
    assert intervals_of(windows(0.8, 0.8, 0.95, 0.8, 0.8), OPTIONS)[0].best == 3


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="leave"):
        IntervalOptions(enter=0.3, leave=0.5, bridge=1.0, shortest=1.0)
    assert IntervalOptions.of_windows(2.0, enter=0.1).leave == 0.1
