"""Counts over a training set."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import LABELS, ROLES
from pvchat_jax.synthesis.exporting.splitting import SPLITS
from pvchat_jax.synthesis.exporting.training_set import TrainingSet
from pvchat_jax.synthesis.making.checking import count_rejections
from pvchat_jax.synthesis.records import Clip, Person, Sighting

_BEST_SIGHTINGS = 12  # whose mean quality stands for what the video offers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """What a training set holds.

    Attributes:
      clips: numbers by split, then by role.
      tools: numbers of training clips by tool, then by label.
      rejected: numbers by kind, one of `checking.REJECTIONS`. made: numbers of clips that were checked, by label, and `kept`
        of these. A clip that repeats another counts as rejected.
      questions: numbers in train by type, then by label.
      set_aside: numbers by stage.
      seconds: for which the subject is seen. quality: mean of the best sightings of the subject by name.
    """

    clips: dict[str, dict[str, int]]
    tools: dict[str, dict[str, int]]
    rejected: dict[str, int]
    made: dict[str, int]
    kept: dict[str, int]
    questions: dict[str, dict[str, int]]
    set_aside: dict[str, int]
    seconds: float
    quality: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


def count(made: TrainingSet) -> Statistics:
    """Counts over `made`."""
    clips = {split: dict.fromkeys(ROLES, 0) for split in SPLITS}
    tools: dict[str, dict[str, int]] = {}
    questions = {kind: dict.fromkeys(LABELS, 0) for kind in QUESTION_TYPES}
    for used in made.used:
        clips[used.split][used.clip.role] += 1
        if used.split != "train":
            continue
        tools.setdefault(used.clip.tool, dict.fromkeys(LABELS, 0))[label_of(used.clip)] += 1
        for question in used.questions:
            questions[question.type][label_of(used.clip)] += 1
    kept = Counter(label_of(used.clip) for used in made.used)
    failed = Counter(label_of(clip) for clip in made.rejected)
    return Statistics(
        clips=clips,
        tools=dict(sorted(tools.items())),
        rejected=count_rejections(clip.checks for clip in made.rejected),
        made={label: kept[label] + failed[label] for label in LABELS},
        kept={label: kept[label] for label in LABELS},
        questions=questions,
        set_aside=dict(sorted(Counter(item.stage for item in made.set_aside).items())),
        seconds=made.person.seconds,
        quality=mean_quality(made.person),
    )


def label_of(clip: Clip) -> str:
    """`present` or `absent`."""
    return LABELS[0] if clip.role == "positive" else LABELS[1]


def mean_quality(person: Person) -> dict[str, float]:
    """Mean of each quality over the best sightings of a person, to three decimals."""
    best = sorted(_sightings(person), key=lambda sighting: sighting.total_quality, reverse=True)[:_BEST_SIGHTINGS]
    names = sorted({name for sighting in best for name in sighting.quality})
    return {name: round(sum(sighting.quality.get(name, 0.0) for sighting in best) / len(best), 3) for name in names}


def _sightings(person: Person) -> Iterable[Sighting]:
    return (sighting for track in person.tracks for sighting in track)
