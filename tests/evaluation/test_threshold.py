"""The threshold between yes and no."""

from pathlib import Path

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.threshold import THRESHOLD_FILE, choose_threshold, read_threshold, write_threshold
from tests.evaluation.answered import content, existence


def test_lies_in_the_middle_between_the_classes() -> None:
    answers = [existence("a", "positive", "yes", 3.0), existence("b", "positive", "yes", 5.0), existence("c", "easy_negative", "yes", 1.0)]
    assert choose_threshold(answers) == pytest.approx(2.0)


def test_weighs_both_classes_equally_whatever_their_numbers() -> None:
    present = [existence("p", "positive", "yes", 1.0)]
    absent = [existence(f"n{index}", "easy_negative", "no", odds) for index, odds in enumerate((-4.0, -3.0, -2.0, 2.0))]
    assert choose_threshold([*present, *absent]) == pytest.approx(-0.5)


def test_needs_both_classes_and_log_odds() -> None:
    assert choose_threshold([existence("a", "positive", "yes", 3.0)]) == 0
    assert choose_threshold([existence("a", "positive", "yes"), content("a", "positive", "x", "y")]) == 0


def test_is_kept_with_the_run(tmp_path: Path) -> None:
    assert read_threshold(tmp_path) is None
    write_threshold(tmp_path, -1.25, 40)
    assert read_threshold(tmp_path) == -1.25
    (tmp_path / THRESHOLD_FILE).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_threshold(tmp_path)
