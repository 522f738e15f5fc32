"""What the people of a registry do to each other: who is taken for whom, and whether one's answers change because of another."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.assistant.held_out import Clips


@dataclasses.dataclass(frozen=True, eq=False)
class Interference:
    """N people, each with clips of their own.

    Attributes:
      accuracy: float[N], the mean of the shares of a person's clips with and without them about which the verdict is right; unsure is not.
      change: float[N, N], how much the accuracy of the column's person differs when the row's person was asked about the same clips just
        before; the packs share arrays and programs, and this shows that nothing of one is left for the other.
      taken: float[N, N], the share of clips that show the column's person in which the row's person is called present.
    """

    names: tuple[str, ...]
    accuracy: np.ndarray
    change: np.ndarray
    taken: np.ndarray


def measure_interference(assistant: Assistant, clips: Mapping[str, Clips]) -> Interference:
    """Asks everybody's pack about everybody's clips.

    Args:
      clips: by name of an enrolled person.
    """
    names = tuple(clips)
    size = len(names)
    accuracy = np.array([_accuracy(assistant, name, clips[name]) for name in names])
    change, taken = np.zeros((size, size)), np.zeros((size, size))
    for row, other in enumerate(names):
        for column, name in enumerate(names):
            shown = _present(clips[name])
            taken[row, column] = _called_present(assistant, other, clips[name])[shown].mean() if shown.any() else np.nan
            change[row, column] = _accuracy(assistant, name, clips[name]) - accuracy[column]
    return Interference(names, accuracy, change, taken)


def _accuracy(assistant: Assistant, name: str, clips: Clips) -> float:
    present = _present(clips)
    verdicts = np.array([found.verdict for found in assistant.presence(clips.watched, name)])
    shares = [np.mean(verdicts[kind] == right) for kind, right in ((present, "present"), (~present, "absent")) if kind.any()]
    return float(np.mean(shares))


def _called_present(assistant: Assistant, name: str, clips: Clips) -> np.ndarray:
    return np.array([found.verdict == "present" for found in assistant.presence(clips.watched, name)])


def _present(clips: Clips) -> np.ndarray:
    """`bool[V]`, whose clip shows the person whom the clips are about."""
    return np.array([record.present for record in clips.records], bool)
