"""Reasons not to believe the numbers of a model, each as a sentence."""

from collections.abc import Iterator, Mapping, Sequence

from pvchat_jax.evaluation.card.comparing import LEVEL, Comparison, compare
from pvchat_jax.evaluation.card.leaks import LeakCheck
from pvchat_jax.evaluation.card.measuring import Measured
from pvchat_jax.evaluation.card.systems import System
from pvchat_jax.evaluation.metrics.content import CONTENT_ACCURACY
from pvchat_jax.evaluation.metrics.existence import ACCURACY, BALANCED_ACCURACY, UNKNOWN_RATE
from pvchat_jax.evaluation.metrics.metric import Metric, value_of

# By which a model has to beat what it is held against.
_PLAIN = {BALANCED_ACCURACY.key: "the balanced accuracy", CONTENT_ACCURACY.key: "right answers about content"}
_FEW_SUBJECTS = 6
_MANY_UNKNOWN = 0.1
_LACKS = {"blind": "sees no video of the question", "impersonal": "does not know this person, or was asked about another name"}


def held_against(model: System, systems: Sequence[System], metrics: Sequence[Metric], seed: int = 0) -> list[Comparison]:
    """The model compared with each of the systems beside it, by those of `metrics` that are decisive."""
    decisive = [metric for metric in metrics if metric.key in _PLAIN]
    return [compare(decisive, system, model, seed) for system in systems if system.beside == model.name]


def doubts(model: System, everything: Measured, systems: Sequence[System], against: Sequence[Comparison]) -> Iterator[str]:
    """Sentences about one model.

    Args:
      everything: its scores.
      against: of `held_against`.
    """
    kinds = {system.short: system.kind for system in systems}
    for key, plain in _PLAIN.items():
        lost = [comparison.first for comparison in against if _is_not_beaten(comparison, key)]
        for kind, lacks in _LACKS.items():
            named = [name for name in lost if kinds[name] == kind]
            if named:
                each = "it" if len(named) == 1 else "each of these"
                yield f"{model.name} is not shown to beat {_list(named)} by {plain}, although {each} {lacks}."
    yield from _plain_accuracy(model, everything, systems)
    if model.answers and everything.num_subjects == 1:
        yield f"{model.name} was asked about one subject: the intervals are over videos, and say nothing about other people."
    elif 1 < everything.num_subjects < _FEW_SUBJECTS:
        yield f"{model.name} was asked about {everything.num_subjects} subjects: intervals over so few are too narrow."
    unknown = everything.numbers[UNKNOWN_RATE.key].value
    if unknown is not None and unknown > _MANY_UNKNOWN:
        yield f"{100 * unknown:.0f}% of the yes/no answers of {model.name} say neither; they count as wrong, so look at some of them."
    if everything.numbers[BALANCED_ACCURACY.key].value is None and everything.numbers[ACCURACY.key].value is not None:
        yield f"All yes/no questions to {model.name} have the same true answer, so nothing is shown about telling people apart."
    if model.set_aside:
        yield f"{len(model.set_aside)} videos of {model.name} could not be read and are left out."
    if "unanswered" in model.facts:
        yield f"{model.name}: {model.facts['unanswered']}."


def _plain_accuracy(model: System, everything: Measured, systems: Sequence[System]) -> Iterator[str]:
    own = everything.numbers[ACCURACY.key].value
    if own is None:
        return
    blind = [system for system in systems if system.beside == model.name and system.kind == "blind"]
    above = {system.short: value for system in blind if (value := value_of(ACCURACY, system.answers)) is not None and value >= own}
    if above:
        name = max(above, key=lambda name: above[name])
        other = f"{name}, which sees no video of the question, {100 * above[name]:.1f}%"
        yield f"In plain accuracy {model.name} has {100 * own:.1f}% and {other}: read the balanced accuracy."


def _is_not_beaten(comparison: Comparison, key: str) -> bool:
    difference = comparison.differences.get(key)
    return difference is not None and not (difference.value > 0 and difference.p_value < LEVEL)


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def leak_doubts(check: LeakCheck) -> Iterator[str]:
    """Sentences about training and test videos."""
    if check.leaks:
        exact = sum(leak.distance == 0 for leak in check.leaks)
        same = f", {exact} of them with the same hash" if exact else ""
        yield f"{len(check.leaks)} of {check.num_test} test videos are nearly the same as a training video{same}."
    yield from check.not_checked


def lead(model: System, everything: Measured, against: Sequence[Comparison], systems: Sequence[System]) -> str:
    """One sentence with a model's balanced accuracy beside the best that sees no video."""
    number = everything.numbers[BALANCED_ACCURACY.key]
    if number.value is None or number.interval is None:
        return f"{model.name}: {len(model.answers)} answers; the balanced accuracy is not defined for them."
    ends = f"95% interval {100 * number.interval.low:.1f} to {100 * number.interval.high:.1f}"
    said = f"{model.name} has a balanced accuracy of {100 * number.value:.1f}% ({ends})"
    kinds: Mapping[str, str] = {system.short: system.kind for system in systems}
    known = {c.first: c.differences[BALANCED_ACCURACY.key] for c in against if kinds[c.first] == "blind"}
    differences = {name: difference for name, difference in known.items() if difference is not None}
    if not differences:
        return f"{said}."
    best = min(differences, key=lambda name: differences[name].value)
    found = differences[best]
    side = "above" if found.value >= 0 else "below"
    verdict = "" if found.value > 0 and found.p_value < LEVEL else ", which is not significant" if found.value >= 0 else ""
    margin = f"{abs(100 * found.value):.1f} points {side} {best}"
    return f"{said}, {margin}, the best of those that see no video (p = {found.p_value:.2g}){verdict}."
