"""From log-odds to a probability and a verdict, for a stated rate of false accepts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pvchat_jax.config.pack_manifest import CALIBRATION_FILE
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import (
    Scored,
    fit_calibration,
    read_calibration,
    uncalibrated,
    upper_bound,
    write_calibration,
)
from pvchat_jax.evaluation.threshold import write_threshold

ODDS = st.lists(st.floats(-20, 20), min_size=1, max_size=60)


def clips(present, alike, strangers=()) -> list[Scored]:
    groups = {"positive": present, "hard_negative": alike, "easy_negative": strangers}
    return [Scored(float(value), role) for role, values in groups.items() for value in values]


@settings(max_examples=50)
@given(ODDS, ODDS, ODDS, st.floats(0.01, 0.5))
def test_no_more_look_alikes_are_called_present_than_was_stated(present, alike, strangers, rate):
    found = fit_calibration(clips(present, alike, strangers), rate)
    assert sum(found.verdict(value) == "present" for value in alike) <= rate * len(alike)
    assert found.measured == sum(found.verdict(value) == "present" for value in alike) / len(alike)
    assert sum(found.verdict(value) == "absent" for value in present) <= rate * len(present)
    assert found.bound >= found.measured and found.slope >= 0
    assert 0 <= found.probability(-30) <= found.probability(30) <= 1


def test_what_is_told_apart_without_error_is_neither_certain_nor_sure_in_the_gap():
    found = fit_calibration(clips(np.linspace(4, 8, 48), np.linspace(-6, -2, 48)))
    assert [found.verdict(value) for value in (-4.0, 1.0, 6.0)] == ["absent", "unsure", "present"]
    assert 0.9 < found.probability(6.0) < 0.999 and found.probability(1.0) == pytest.approx(0.5, abs=0.05)
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 48))


def test_the_parameters_are_those_that_made_the_clips():
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 4, 40_000)
    shown = rng.random(len(odds)) < 1 / (1 + np.exp(-(0.5 * odds - 1)))
    found = fit_calibration(clips(odds[shown], odds[~shown]))
    prior = math.log((~shown).sum() / shown.sum())  # the probability is of a clip that shows the person as often as not
    assert (found.slope, found.offset) == (pytest.approx(0.5, rel=0.05), pytest.approx(-1 + prior, abs=0.06))


def test_only_look_alikes_carry_the_rate():
    found = fit_calibration(clips(np.full(20, 5.0), np.full(20, 4.0), np.full(200, -9.0)))
    assert found.num_look_alikes == 20 and found.verdict(4.0) != "present"
    assert fit_calibration(clips([5.0] * 20, [], [-9.0] * 30)).num_look_alikes == 30


def test_a_model_that_is_worse_than_chance_is_sure_of_nothing():
    found = fit_calibration(clips(np.full(20, -5.0), np.full(20, 4.0)))
    assert {found.verdict(value) for value in (-1e6, 0.0, 1e6)} == {"unsure"} and found.probability(7.0) == 0.5


@pytest.mark.parametrize(("wrong", "total"), [(0, 48), (1, 48), (2, 40), (40, 40), (0, 1)])
def test_the_bound_is_that_of_clopper_and_pearson(wrong, total):
    assert upper_bound(wrong, total) == pytest.approx(binomtest(wrong, total, alternative="less").proportion_ci(0.95).high)


def test_a_pack_without_held_out_clips_keeps_its_threshold(tmp_path):
    assert read_calibration(tmp_path) == uncalibrated(0.0)
    write_threshold(tmp_path, 2.0, 3)
    found = read_calibration(tmp_path)
    assert found.probability(2.0) == 0.5 and [found.verdict(value) for value in (0.8, 2.0, 3.2)] == ["absent", "unsure", "present"]


def test_what_is_written_is_read(tmp_path):
    for present in ([6.0, 7.0], [-9.0, -8.0]):
        found = fit_calibration(clips(present, [-4.0, 1.0]))
        write_calibration(tmp_path, found)
        assert read_calibration(tmp_path) == found and found.num_look_alikes


@pytest.mark.parametrize(
    "change",
    [lambda text: text[:-20], lambda text: text.replace('"slope": 1.0', '"slope": "steep"'), lambda text: text.replace("offset", "ofset")],
)
def test_a_damaged_file_is_one_sentence(tmp_path, change):
    write_calibration(tmp_path, uncalibrated(0.0))
    path = tmp_path / CALIBRATION_FILE
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match="is damaged"):
        read_calibration(tmp_path)


@pytest.mark.parametrize(("present", "alike", "message"), [([], [1.0], "none of the 1"), ([1.0], [], "all of the 1")])
def test_one_kind_of_clip_is_not_enough(present, alike, message):
    with pytest.raises(UserError, match=message):
        fit_calibration(clips(present, alike))
    with pytest.raises(UserError, match="between 0 and 1"):
        fit_calibration(clips([1.0], [1.0]), 1.5)
