"""Scores against counts made by hand, and baselines that must come out as known."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.metrics.bootstrap import bootstrap
from pvchat_jax.evaluation.metrics.existence import AUC, BALANCED_ACCURACY
from pvchat_jax.evaluation.metrics.metric import value_of
from pvchat_jax.evaluation.metrics.verdicts import is_right
from pvchat_jax.evaluation.scores import score_answers
from tests.evaluation.answered import SAYS, content, existence

# 4 answers on 2 present videos (2 right, 1 denied, 1 unreadable) and 6 on 3 absent ones (3 right, 2 accepted, 1 unreadable).
ANSWERS = [
    existence("a", "positive", "yes", 3.0),
    existence("a", "positive", "no", 2.0),
    existence("b", "positive", "yes", 1.0),
    existence("b", "positive", "?", -1.0),
    existence("c", "hard_negative", "yes", 2.0),
    existence("c", "hard_negative", "yes", 0.5),
    existence("d", "hard_negative", "no", -2.0),
    existence("d", "hard_negative", "?", -3.0),
    existence("e", "easy_negative", "no", -4.0),
    existence("e", "easy_negative", "no", -5.0, origin="real"),
]


def test_existence_scores() -> None:
    scores = score_answers(ANSWERS).existence
    assert (scores.num_videos, scores.num_questions) == (5, 10)
    assert scores.accuracy == pytest.approx(5 / 10)
    assert scores.balanced_accuracy == pytest.approx((2 / 4 + 3 / 6) / 2)
    assert scores.far == pytest.approx(2 / 6)
    assert scores.frr == pytest.approx(1 / 4)
    assert scores.unknown_rate == pytest.approx(2 / 10)
    assert scores.auc == brute_force_auc(ANSWERS)


def brute_force_auc(answers: list[Answer]) -> float:
    pairs = [(p.log_odds, n.log_odds) for p, n in itertools.product(answers, answers) if p.present and not n.present]
    return sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs)


def test_constant_baselines() -> None:
    baselines = score_answers(ANSWERS).baselines
    yes, no, majority = (baselines[name] for name in ("always-yes", "always-no", "majority"))
    assert (yes.accuracy, no.accuracy) == (pytest.approx(0.4), pytest.approx(0.6))
    assert majority == no
    for baseline in baselines.values():
        assert (baseline.balanced_accuracy, baseline.auc, baseline.interval) == (0.5, 0.5, (0.5, 0.5))
    assert (yes.far, yes.frr, no.far, no.frr) == (1, 0, 0, 1)


def test_majority_follows_the_labels() -> None:
    scores = score_answers([existence("a", "positive", "no"), existence("b", "positive", "no"), existence("c", "easy_negative", "no")])
    assert scores.baselines["majority"].accuracy == pytest.approx(2 / 3)


def test_groups_by_role() -> None:
    groups = score_answers(ANSWERS).by_role
    assert {name: group.accuracy for name, group in groups.items()} == {"positive": 0.5, "hard_negative": 0.25, "easy_negative": 1.0}
    assert groups["hard_negative"].unknown_rate == pytest.approx(1 / 4)
    assert groups["easy_negative"].auc == 1.0
    assert groups["hard_negative"].auc == brute_force_auc([answer for answer in ANSWERS if answer.role != "easy_negative"])
    assert groups["positive"].auc is None


def test_groups_by_origin() -> None:
    groups = score_answers(ANSWERS).by_origin
    assert {name: group.num_questions for name, group in groups.items()} == {"real": 1, "rendered": 9}


def test_content_scores_beside_the_most_common_answer() -> None:
    answers = [
        content("a", "positive", "<Wilson> is waving.", "<Wilson> is waving."),
        content("b", "positive", "<Wilson> is waving.", "Waving at the camera."),
        content("c", "positive", "<Wilson> is jumping.", "<Wilson> is waving."),
        content("d", "positive", "<Wilson> is jumping high.", "<Wilson> is not in this video."),
        content("e", "easy_negative", "<Wilson> is not here.", "<Wilson> is waving."),
        content("f", "easy_negative", "<Wilson> is not here.", "I cannot see <Wilson>."),
    ]
    scores = score_answers(answers)
    action = scores.content["action"]
    assert (action.num_questions, action.accuracy, action.exact, action.refusal_rate) == (4, 0.5, 0.25, 0.25)
    assert (action.most_common_accuracy, action.most_common_exact) == (0.5, 0.5)
    assert scores.absent_refusal_rate == {"action": 0.5}
    assert [is_right(answer) for answer in answers] == [True, True, False, False, False, True]


def test_missing_classes_leave_scores_undefined() -> None:
    scores = score_answers([existence("a", "positive", "yes", 1.0)]).existence
    assert (scores.accuracy, scores.frr) == (1.0, 0.0)
    assert (scores.balanced_accuracy, scores.interval, scores.far, scores.auc) == (None, None, None, None)


def test_nothing_to_score() -> None:
    scores = score_answers([])
    assert (scores.existence.num_questions, scores.existence.accuracy, scores.existence.auc) == (0, None, None)
    assert not scores.content and not scores.by_role


def test_answers_without_log_odds_are_left_out_of_the_auc() -> None:
    scores = score_answers(
        [existence("a", "positive", "yes", 1.0), existence("b", "positive", "yes"), existence("c", "easy_negative", "no", 0.0)]
    )
    assert scores.existence.auc == 1.0


def test_interval_is_over_videos_and_not_over_questions() -> None:
    """Ten answers about one video are one observation: asking more about the same videos must not narrow the interval."""
    once = [existence(f"{role}{n}", role, "yes" if n % 2 else "no") for role in ("positive", "easy_negative") for n in range(8)]
    single = bootstrap(BALANCED_ACCURACY, once)
    assert bootstrap(BALANCED_ACCURACY, once * 10) == single
    spread = [existence(f"{role}{n}", role, "yes" if n % 2 else "no") for role in ("positive", "easy_negative") for n in range(80)]
    wide = bootstrap(BALANCED_ACCURACY, spread)
    assert wide.high - wide.low < (single.high - single.low) / 2
    assert single.low < 0.5 < single.high


def test_perfect_answers_have_a_degenerate_interval() -> None:
    answers = [existence("a", "positive", "yes"), existence("b", "easy_negative", "no")]
    assert score_answers(answers).existence.interval == (1.0, 1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), max_size=12), st.lists(st.integers(-3, 3), max_size=12))
def test_auc_is_the_share_of_ordered_pairs(positives: list[int], negatives: list[int]) -> None:
    pairs = list(itertools.product(positives, negatives))
    expected = sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs) if pairs else None
    drawn = [existence(str(n % 3), "positive", "yes", float(n)) for n in positives]
    drawn += [existence(str(n % 3), "easy_negative", "no", float(n)) for n in negatives]
    assert value_of(AUC, drawn) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["positive", "hard_negative", "easy_negative"]), st.sampled_from(list(SAYS)))))
def test_rates_add_up(drawn: list[tuple[int, str, str]]) -> None:
    scores = score_answers([existence(f"{role}{video}", role, says) for video, role, says in drawn]).existence
    if scores.balanced_accuracy is not None:
        assert 0 <= scores.interval.low <= scores.balanced_accuracy + 1e-9
        assert scores.balanced_accuracy - 1e-9 <= scores.interval.high <= 1
        assert scores.balanced_accuracy <= 1 - (scores.far + scores.frr) / 2 + 1e-9


def test_confusion_is_by_grade_and_counts_what_was_said() -> None:
    answers = [
        existence("p", "positive", "yes", 2.0),
        existence("p", "positive", "?", 1.0),
        existence("b", "hard_negative", "no", -1.0, grade=2),
        existence("a", "hard_negative", "yes", 1.5, grade=1),
        existence("c", "hard_negative", "no", -1.0),
        existence("s", "easy_negative", "no", -2.0),
    ]
    confusion = score_answers(answers).confusion
    assert list(confusion) == ["present", "stranger", "look-alike", "look-alike, grade 1", "look-alike, grade 2"]
    assert {name: (row.said_present, row.said_absent, row.unknown, row.accuracy, row.auc) for name, row in confusion.items()} == {
        "present": (1, 0, 1, 0.5, None),
        "stranger": (0, 1, 0, 1.0, 1.0),
        "look-alike": (0, 1, 0, 1.0, 1.0),
        "look-alike, grade 1": (1, 0, 0, 0.0, 0.5),
        "look-alike, grade 2": (0, 1, 0, 1.0, 1.0),
    }
    assert confusion["present"].num_videos == 1
