"""The benchmark of finding counts what it says."""

from pathlib import Path

from benchmarks.find import Planted, accuracy, overlap


def test_intervals_are_compared_with_planted_ones() -> None:
    assert overlap((0, 10), (5, 15)) == 5 / 15
    assert overlap((0, 1), (2, 3)) == 0
    planted = [Planted(Path("a"), [(0, 10), (20, 30)], 60.0), Planted(Path("b"), [(0, 10)], 60.0)]
    rows = list(accuracy(planted, [[(0, 8), (40, 44)], [(1, 10)]]).values())
    assert rows[:2] == ["3 in 2 minutes of video", "3"]
    assert rows[2] == f"{(0.8 + 0 + 0.9) / 3:.3f}"
    assert rows[3:] == ["66.7%", "66.7%", "56.7%", "81.0%"]
