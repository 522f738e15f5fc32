"""What the stages made, put together: the value that export, statistics, contact sheet and verdict are functions of."""

import dataclasses

import numpy as np

from pvchat_jax.data.records import Question
from pvchat_jax.synthesis.records import Clip, Person, SetAside, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsedClip:
    """A clip of the training set.

    Attributes:
      split: one of `splitting.SPLITS`.
      questions: with answers.
      still: path of its best frame as a one-frame video, relative to the folder of the set, and `still_sha256` its digest; both are
        empty where stage 1 does not train on the clip.
    """

    clip: Clip
    split: str
    questions: tuple[Question, ...]
    still: str = ""
    still_sha256: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """All of one subject.

    Attributes:
      subject: the name as it stands in questions.
      source: the one video. people: who is seen in it, and `person` who of them is the subject.
      portraits: best crops of the subject, uint8[H, W, 3] each.
      reader_note: what the face reader means for the set, one sentence.
      used: in the order of their slots. rejected: clips that failed a check, each with its reason.
      set_aside: what could not be used at all.
    """

    subject: str
    source: Source
    people: tuple[Person, ...]
    person: Person
    portraits: tuple[np.ndarray, ...]
    reader_note: str
    used: tuple[UsedClip, ...]
    rejected: tuple[Clip, ...]
    set_aside: tuple[SetAside, ...]

    def of(self, split: str) -> list[UsedClip]:
        """The clips of a split."""
        return [used for used in self.used if used.split == split]
