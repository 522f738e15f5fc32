"""The part of the card that lists the answers behind every figure.

A figure's link leads to an anchor above the list of its system. While the anchor is the page's target, style rules hide the answers
that the figure is not about; no script is needed.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from pvchat_jax.evaluation.answer_record import Answer, describe_person
from pvchat_jax.evaluation.calibration import yes_probability
from pvchat_jax.evaluation.card.card import Card
from pvchat_jax.evaluation.card.slices import KINDS, Slice
from pvchat_jax.evaluation.card.systems import System
from pvchat_jax.evaluation.markup import Section, note, text
from pvchat_jax.evaluation.metrics.metric import Metric
from pvchat_jax.evaluation.metrics.verdicts import is_right


@dataclasses.dataclass(frozen=True)
class Lists:
    """Where the answers of each figure are: anchors by system, slice and metric; `members` has those of each list, by anchor."""

    anchors: Mapping[tuple[str, Slice, str], str]
    titles: Mapping[str, str]
    members: Mapping[str, frozenset[int]]


def list_answers(card: Card) -> Lists:
    """An anchor for each figure; figures about the same answers share it."""
    anchors: dict[tuple[str, Slice, str], str] = {}
    titles: dict[str, str] = {}
    members: dict[str, frozenset[int]] = {}
    for system in card.systems:
        known: dict[frozenset[int], str] = {}
        about = {metric.key: [metric.count([answer]) > 0 for answer in system.answers] for metric in card.instruments.metrics}
        for part, measured in card.scores[system.name].items():
            inside = [index for index, answer in enumerate(system.answers) if KINDS[part.kind](answer) == part.name]
            for metric in card.instruments.metrics:
                if measured.numbers[metric.key].value is None:
                    continue  # no figure is shown
                own = frozenset(index for index in inside if about[metric.key][index])
                anchor = known.setdefault(own, f"a{len(members)}")
                if anchor not in members:
                    members[anchor] = own
                    titles[anchor] = f"{system.name}, {part.title}: the {len(own)} answers behind the figure"
                anchors[system.name, part, metric.key] = anchor
    return Lists(anchors, titles, members)


def answers_section(card: Card, lists: Lists) -> Section:
    """All answers of all systems, each system's in a list of its own."""
    parts = [note("A figure of the tables above leads to the answers behind it. The list shows those alone until another one is chosen.")]
    parts += [_system_list(card, system, lists) for system in card.systems]
    printed = "The answers are not printed; they are on the page, and in the files that it was made from."
    return Section("answers", "The answers", f'<p class="print-only note">{printed}</p><div class="screen-only">{"".join(parts)}</div>')


def _system_list(card: Card, system: System, lists: Lists) -> str:
    anchors = list(dict.fromkeys(anchor for (name, _, _), anchor in lists.anchors.items() if name == system.name))
    rules = "".join(f"#{anchor}:target~ol>li:not(.{anchor}){{display:none}}" for anchor in anchors)
    heads = "".join(
        f'<p class="picked" id="{anchor}">{text(lists.titles[anchor])}. <a href="#answers">Show all.</a></p>' for anchor in anchors
    )
    items = "".join(
        _item(answer, [anchor for anchor in anchors if index in lists.members[anchor]], card.instruments.metrics)
        for index, answer in enumerate(system.answers)
    )
    return f'<h3>{text(system.name)}</h3><style>{rules}</style><div class="answered">{heads}<ol>{items}</ol></div>'


def _item(answer: Answer, anchors: Sequence[str], metrics: Sequence[Metric]) -> str:
    badge = '<b class="right">✓</b>' if is_right(answer) else '<b class="wrong">✗</b>'
    about = " · ".join(_facts(answer, metrics))
    return (
        f'<li class="{" ".join(anchors)}">{badge} <q>{text(answer.question)}</q> <span>{text(answer.answer or "(nothing)")}</span>'
        f"<small>expected: {text(answer.gold)} · {text(about)}</small></li>"
    )


def _facts(answer: Answer, metrics: Sequence[Metric]) -> Iterator[str]:
    yield PurePosixPath(answer.video.replace("\\", "/")).name
    yield f"{answer.subject}, {describe_person(answer)}"
    if answer.log_odds is not None:
        yield f"p(yes) {100 * yes_probability(answer.log_odds):.0f}%"
    for metric in metrics:
        terms = getattr(metric, "terms", lambda _: None)(answer) if metric.unit == "rating" else None
        if terms is not None:
            yield f"{metric.title} {terms[0]:.0f}"
