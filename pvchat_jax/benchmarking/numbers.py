"""From answers to the benchmark's five numbers, and their mean and spread over runs."""

import collections
import statistics
from collections.abc import Mapping, Sequence

from pvchat_jax.data.presence import parse_presence
from pvchat_jax.evaluation.answer_record import Answer, describe_person
from pvchat_jax.evaluation.answers import is_refusal
from pvchat_jax.world.slots import SLOTS, slot_accuracy

NUMBERS = ("existence_balanced", "appearance", "action", "location", "refusal")


def numbers_of(answers: Sequence[Answer]) -> dict[str, float]:
    """The five numbers of one system on one test set, as shares.

    `existence_balanced` is the mean of the shares of right existence answers on videos with and without the subject; each content
    type is the share of right slots where the subject is there; `refusal` is the share of refusals to content questions where not.
    """
    existence = [answer for answer in answers if answer.type == "existence"]
    rights = {present: [_is_right_about_presence(a) for a in existence if a.present == present] for present in (True, False)}
    numbers = {"existence_balanced": statistics.fmean(statistics.fmean(rights[present]) for present in (True, False))}
    for kind in SLOTS:
        numbers[kind] = statistics.fmean(slot_accuracy(kind, a.answer, a.gold) for a in answers if a.type == kind and a.present)
    numbers["refusal"] = statistics.fmean(is_refusal(a.answer, a.subject) for a in answers if a.type != "existence" and not a.present)
    return numbers


def _is_right_about_presence(answer: Answer) -> bool:
    return parse_presence(answer.answer, answer.subject) == ("present" if answer.present else "absent")


def existence_by_person(answers: Sequence[Answer]) -> dict[str, float]:
    """Share of right existence answers by who is in the video: `present`, `stranger`, `look-alike, grade 1`, ..."""
    rights = collections.defaultdict(list)
    for answer in answers:
        if answer.type == "existence":
            rights[describe_person(answer)].append(_is_right_about_presence(answer))
    return {kind: statistics.fmean(values) for kind, values in sorted(rights.items())}


def mean_and_spread(runs: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and sample standard deviation (0 for a single run) of each number over runs."""
    names = list(runs[0])
    columns = {name: [run[name] for run in runs] for name in names}
    means = {name: statistics.fmean(values) for name, values in columns.items()}
    return means, {name: statistics.stdev(values) if len(values) > 1 else 0.0 for name, values in columns.items()}
