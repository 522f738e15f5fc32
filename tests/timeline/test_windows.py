"""Which frames windows take: as a viewer would see them, without gaps, and the same after an interruption."""

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.timeline.windows import Grid, Look, RunEnd, windows_of

T = 4


def looks_of(grid: Grid, times: list[float], end: float) -> list[Look | RunEnd]:
    """As reading.py makes them of frames, which are called by their index."""
    found: list[Look | RunEnd] = []
    for index, (time, until) in enumerate(itertools.pairwise([*times, end])):
        numbers = grid.shown(time, until)
        found += [Look(number, time, index) for number in numbers]
        if grid.first_from(until) > numbers.stop:
            found.append(RunEnd(until))
    return [*found, RunEnd(end)]


frame_times = st.builds(
    lambda start, gaps: list(itertools.accumulate(gaps, initial=start)),
    st.floats(0, 50),
    st.lists(st.one_of(st.floats(0.01, 0.6), st.floats(0.01, 7.0)), max_size=60),
)
grids = st.sampled_from([0.3, 2.0, 5.0])


@given(frame_times, grids)
@settings(max_examples=80, deadline=None)
def test_each_look_sees_what_is_on_screen(times: list[float], seconds: float) -> None:
    grid = Grid(times[0], seconds / T, T)
    for window in windows_of(looks_of(grid, times, times[-1] + 0.1), grid):
        assert len(window.frames) == len(window.frame_times) == T
        assert window.start <= window.end
        assert list(window.frame_times) == [times[frame] for frame in window.frames]
        if window.end - window.start > seconds - 1e-6:  # not a short run, whose frames are repeated
            for offset, frame in enumerate(window.frames):
                shown = max(index for index, time in enumerate(times) if time <= grid.time(window.number + offset) + 1e-9)
                assert frame == shown


@given(frame_times)
@settings(max_examples=80, deadline=None)
def test_windows_leave_no_moment_out(times: list[float]) -> None:
    grid, end = Grid(times[0], 0.5, T), times[-1] + 1.0
    windows = list(windows_of(looks_of(grid, times, end), grid))
    assert [window.number for window in windows] == sorted({window.number for window in windows})
    covered = times[0]
    for window in windows:
        assert window.start <= covered + 0.5 + 1e-6  # a run of new pictures may begin half a step late
        covered = max(covered, window.end)
    assert math.isclose(covered, end)


@given(frame_times, st.data())
@settings(max_examples=80, deadline=None)
def test_going_on_after_any_window_gives_the_rest(times: list[float], data: st.DataObject) -> None:
    grid, end = Grid(times[0], 0.5, T), times[-1] + 1.0
    looks = looks_of(grid, times, end)
    whole = list(windows_of(looks, grid))
    last = data.draw(st.sampled_from(whole))
    again = [look for look in looks if isinstance(look, RunEnd) or look.number >= last.number]
    rest = [window for window in windows_of(again, grid, run=last.run) if window.number > last.number]
    assert [vars(window) for window in rest] == [vars(window) for window in whole if window.number > last.number]


def test_a_window_has_the_middles_of_its_steps_and_overlaps_the_next_by_half() -> None:
    grid = Grid(10.0, 0.5, T)
    windows = list(windows_of(looks_of(grid, [10 + index / 8 for index in range(28)], 13.5), grid))
    assert [(window.start, window.end) for window in windows] == [(10, 12), (11, 13), (11.5, 13.5)]
    assert windows[0].frames == (2, 6, 10, 14)  # of 8 frames a second, at 0.25, 0.75, 1.25 and 1.75 s
