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
    present = [existence("p", "positive", "yes", 11.0)]
    absent = [existence(f"n{index}", "easy_negative", "no", odds) for index, odds in enumerate((6.0, 7.0, 8.0, 9.0, 12.0))]
    assert choose_threshold([*present, *absent]) == pytest.approx(10.0)  # not 13, which is right for all of the many
    assert choose_threshold([*present, *absent[:4]]) == pytest.approx(10.0)


def test_stays_with_greedy_decoding_unless_answers_speak_clearly_against_it() -> None:
    present = [existence(f"p{index}", "positive", "yes", 2.0 + index) for index in range(8)]
    absent = [existence(f"n{index}", "easy_negative", "no", -2.0 - index) for index in range(8)]
    assert choose_threshold([*present, *absent]) == 0
    slip = existence("slip", "easy_negative", "yes", 1.0)  # 1.5 would be right for all
    assert choose_threshold([*present, *absent, slip]) == pytest.approx(1.5)
    overlap = [existence("p", "positive", "no", -1.0), *(existence(f"o{odds}", "easy_negative", "yes", odds) for odds in (6.5, 7.5))]
    assert choose_threshold([*present, *absent, *overlap]) == 0
    high = [existence(f"h{index}", "easy_negative", "yes", 1.0) for index in range(8)]
    assert choose_threshold([*present, *high]) == pytest.approx(1.5)


def test_questions_about_one_video_count_once_for_the_doubt() -> None:
    # Of five absent answers three are wrong at 0 and two at 2: with five videos that may be chance, with a hundred it is not.
    def answers(copies: int, videos: bool) -> list:
        made = []
        for copy in range(copies):
            name = f"{copy}" if videos else ""
            made += [existence(f"p{index}{name}", "positive", "yes", 3.0 + index) for index in range(3)]
            made += [existence(f"n{index}{name}", "easy_negative", "no", odds) for index, odds in enumerate((-3.0, -2.0, 1.0, 4.4, 4.6))]
        return made

    assert choose_threshold(answers(1, True)) == choose_threshold(answers(20, False)) == 0
    assert choose_threshold(answers(20, True)) == pytest.approx(2.0)


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
