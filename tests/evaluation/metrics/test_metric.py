"""Scores against libraries that we did not write: scipy for ranks and intervals, sacrebleu for BLEU."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.metrics.bleu import bleu_metric, signature
from pvchat_jax.evaluation.metrics.bootstrap import bootstrap, draw_weights, paired_bootstrap
from pvchat_jax.evaluation.metrics.content import CONTENT_ACCURACY
from pvchat_jax.evaluation.metrics.existence import ACCURACY, AUC, BALANCED_ACCURACY, CALIBRATION_ERROR, EXISTENCE_METRICS
from pvchat_jax.evaluation.metrics.mcnemar import mcnemar
from pvchat_jax.evaluation.metrics.metric import value_of, videos_of
from tests.evaluation.answered import content, existence

SETTINGS = settings(max_examples=40, deadline=None)


def drawn_run(seed: int, num_videos: int, accuracy: float, subjects: int = 1, questions: int = 2) -> list[Answer]:
    """Answers about videos of several subjects, half of them absent, of which a share is right."""
    rng = np.random.default_rng(seed)
    made = []
    for subject in range(subjects):
        for video in range(num_videos):
            role = ("positive", "easy_negative")[video % 2]
            is_right = rng.random() < accuracy
            says = ("yes", "no")[(role == "positive") != is_right]
            odds = rng.normal(1.5 if role == "positive" else 0)
            answer = existence(f"{subject}-{video}", role, says, round(odds, 1))
            name = f"<S{subject}>"
            made += [dataclasses.replace(answer, subject=name, answer=answer.answer.replace("<Wilson>", name), gold=name)] * questions
    return made


def test_auc_is_mann_whitneys_statistic() -> None:
    answers = drawn_run(0, 60, 0.8, subjects=3)
    high, low = ([answer.log_odds for answer in answers if answer.present == present] for present in (True, False))
    expected = scipy.stats.mannwhitneyu(high, low).statistic / len(high) / len(low)
    assert value_of(AUC, answers) == pytest.approx(expected)


@pytest.mark.parametrize("metric", EXISTENCE_METRICS, ids=lambda metric: metric.key)
def test_a_weight_is_the_same_as_a_repetition(metric) -> None:
    """What the bootstrap rests on."""
    answers = drawn_run(1, 20, 0.7)
    videos = videos_of(answers)
    weights = draw_weights(videos)[:5]
    repeated = [[answer for video, answer in zip(videos.index, answers, strict=True) for _ in range(int(row[video]))] for row in weights]
    assert metric.statistic(answers, videos)(weights) == pytest.approx([value_of(metric, answers) for answers in repeated])


def test_with_one_subject_the_interval_is_scipys() -> None:
    answers = [answer for answer in drawn_run(2, 300, 0.7) if answer.present]
    right = np.array([value_of(ACCURACY, [answer]) for answer in answers[::2]])
    expected = scipy.stats.bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0))
    assert bootstrap(ACCURACY, answers) == pytest.approx(tuple(expected.confidence_interval), abs=0.012)


def test_subjects_that_differ_make_the_interval_wide() -> None:
    alike = [answer for n in range(8) for answer in renamed(drawn_run(n, 30, 0.75), n)]
    apart = [answer for n in range(8) for answer in renamed(drawn_run(n, 30, 1.0 if n % 2 else 0.5), n)]
    narrow, wide = bootstrap(BALANCED_ACCURACY, alike), bootstrap(BALANCED_ACCURACY, apart)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def renamed(answers: list[Answer], number: int) -> list[Answer]:
    name = f"<N{number}>"
    return [dataclasses.replace(a, subject=name, answer=a.answer.replace("<S0>", name), video=f"{number}/{a.video}") for a in answers]


def test_every_resample_has_both_classes_of_each_drawn_subject() -> None:
    videos = videos_of(drawn_run(0, 6, 0.8, subjects=3))
    weights = draw_weights(videos)
    assert (weights.sum(axis=1) == 18).all()
    for subject in range(3):
        shown, hidden = (weights[:, (videos.subject == subject) & (videos.present == present)].sum(axis=1) for present in (True, False))
        assert (shown == hidden).all() and set(shown) == {0, 3, 6, 9}


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    """Two runs that agree on all questions but a few."""
    first = drawn_run(3, 100, 0.7)
    wrong = [index for index, answer in enumerate(first) if value_of(ACCURACY, [answer]) == 0][:24]
    second = [dataclasses.replace(a, answer="Yes." if a.present else "No.") if n in wrong else a for n, a in enumerate(first)]
    found = paired_bootstrap(ACCURACY, first, second)
    assert found.value == pytest.approx(24 / 200) and found.interval.low > 0 and found.p_value < 0.01
    alone = bootstrap(ACCURACY, first)
    assert found.interval.high - found.interval.low < alone.high - alone.low
    same = paired_bootstrap(ACCURACY, first, first)
    assert (same.value, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    """Pairs of runs of the same quality, of which about 5 % may come out different."""
    alarms = [paired_bootstrap(ACCURACY, drawn_run(2 * n, 60, 0.7), drawn_run(2 * n + 1, 60, 0.7)).p_value < 0.05 for n in range(60)]
    assert sum(alarms) <= 8


def test_mcnemar_is_the_exact_sign_test() -> None:
    found = mcnemar([True] * 9 + [False] + [True] * 50, [False] * 9 + [True] + [True] * 50)
    assert (found.only_first, found.only_second) == (9, 1)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar([True], [True]).p_value == 1.0


WORDS = st.lists(st.sampled_from("a man in the red coat waves , and smiles . Wilson's".split()), max_size=8).map(" ".join)


@SETTINGS
@given(st.lists(st.tuples(WORDS, WORDS.filter(bool)), min_size=1, max_size=6))
def test_bleu_is_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    from sacrebleu.metrics import BLEU

    answers = [content(str(n), "positive", gold, said) for n, (said, gold) in enumerate(pairs)]
    for order in (1, 4):
        reference = BLEU(max_ngram_order=order, tokenize="13a", effective_order=True)
        expected = reference.corpus_score([said for said, _ in pairs], [[gold for _, gold in pairs]]).score / 100
        assert value_of(bleu_metric(order), answers) == pytest.approx(expected)


def test_bleu_says_how_it_counts() -> None:
    assert "eff:yes|tok:13a|smooth:exp|version:" in signature(1)


def test_a_score_of_nothing_is_undefined() -> None:
    for metric in (*EXISTENCE_METRICS, CONTENT_ACCURACY, bleu_metric(1)):
        assert value_of(metric, []) is None and bootstrap(metric, []) is None
    only_present = [existence("a", "positive", "yes", 1.0)]
    assert bootstrap(BALANCED_ACCURACY, only_present) is None and bootstrap(AUC, only_present) is None
    assert paired_bootstrap(AUC, only_present, only_present) is None


def test_calibration_error_of_a_model_that_is_always_sure_and_right_half_of_the_time() -> None:
    answers = [existence(str(n), "positive" if n % 2 else "easy_negative", "yes", 100.0) for n in range(10)]
    assert value_of(CALIBRATION_ERROR, answers) == pytest.approx(0.5)
