"""What the card's files are written from: systems, their scores, comparisons, and doubts."""

import dataclasses
from collections.abc import Mapping, Sequence

from pvchat_jax.evaluation.card.comparing import Comparison, compare
from pvchat_jax.evaluation.card.leaks import LeakCheck
from pvchat_jax.evaluation.card.measuring import Measured, measure_system
from pvchat_jax.evaluation.card.slices import EVERYTHING, Slice
from pvchat_jax.evaluation.card.systems import System, without_repetitions
from pvchat_jax.evaluation.card.trust import doubts, held_against, lead, leak_doubts
from pvchat_jax.evaluation.judges.agreement import Agreement
from pvchat_jax.evaluation.metrics.metric import Metric

WHOLE = Slice(EVERYTHING, EVERYTHING)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruments:
    """What measures.

    Attributes:
      metrics: all scores of the card.
      methods: how they were counted, by title of the score, such as sacrebleu's signature and the judge's name.
      skipped: scores that are left out, and why, one sentence each.
      agreement: of the judge, by title of the rubric.
    """

    metrics: tuple[Metric, ...]
    methods: Mapping[str, str]
    skipped: tuple[str, ...] = ()
    agreement: Mapping[str, Agreement] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that the files say.

    Attributes:
      systems: those that are shown, models first.
      scores: by name of the system.
      against: each model beside what it is held against, by name of the model.
      compared: the other models beside the first.
      lead: a sentence per model. doubts: sentences.
    """

    title: str
    inputs: tuple[str, ...]
    systems: tuple[System, ...]
    instruments: Instruments
    scores: Mapping[str, Mapping[Slice, Measured]]
    against: Mapping[str, tuple[Comparison, ...]]
    compared: tuple[Comparison, ...]
    leaks: LeakCheck | None
    lead: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def models(self) -> tuple[System, ...]:
        return tuple(system for system in self.systems if system.kind == "model")


def make_card(
    title: str, inputs: Sequence[str], systems: Sequence[System], instruments: Instruments, leaks: LeakCheck | None, seed: int = 0
) -> Card:
    """Scores, compares and doubts.

    Args:
      inputs: where the systems were read.
      seed: of the resamples.
    """
    shown = sorted(without_repetitions(systems), key=lambda system: system.kind != "model")
    models = [system for system in shown if system.kind == "model"]
    scores = {system.name: measure_system(instruments.metrics, system, seed) for system in shown}
    against = {model.name: tuple(held_against(model, systems, instruments.metrics, seed)) for model in models}
    compared = tuple(compare(instruments.metrics, models[0], model, seed) for model in models[1:])
    found = [sentence for model in models for sentence in doubts(model, scores[model.name][WHOLE], systems, against[model.name])]
    for one in compared:
        if one.num_unmatched:
            asked = f"{one.num_matched} questions are the same, and {one.num_unmatched} are not compared"
            found.append(f"{one.second} and {one.first} were asked different questions: {asked}.")
    return Card(
        title=title,
        inputs=tuple(inputs),
        systems=tuple(shown),
        instruments=instruments,
        scores=scores,
        against=against,
        compared=compared,
        leaks=leaks,
        lead=tuple(lead(model, scores[model.name][WHOLE], against[model.name], systems) for model in models),
        doubts=(*found, *(leak_doubts(leaks) if leaks is not None else ())),
    )
