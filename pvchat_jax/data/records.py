"""The typed record of one video and its questions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pvchat_jax.config.schema import QUESTION_TYPES

ROLES = ("positive", "hard_negative", "easy_negative")
ORIGINS = ("real", "rendered", "t2v", "animated", "retrieved", "composited", "unknown")
LABELS = ("present", "absent")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a video and the answer to learn; `type` is one of `config.schema.QUESTION_TYPES`."""

    question: str
    answer: str
    type: str

    def __post_init__(self) -> None:
        if self.type not in QUESTION_TYPES:
            raise ValueError(f"question type '{self.type}' is not one of {QUESTION_TYPES}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One video, one subject, and what is asked about that subject in that video.

    Attributes:
      video: path as written in the file, relative to the file's folder or absolute; absolute after `record_files.load_records`.
      subject: the name as it stands in questions, such as `<Wilson>`.
      role: `positive` shows the subject, `hard_negative` somebody alike, `easy_negative` somebody else.
      origin: where the pixels come from, one of `ORIGINS`.
      parent: the video that this one was derived from.
      sha256: of the video file, in lower-case hexadecimal digits.
      truth: what is exactly known of the video, as JSON values; the made-up world fills it in.
    """

    video: str
    subject: str
    role: str
    origin: str
    parent: str | None = None
    sha256: str | None = None
    questions: tuple[Question, ...]
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", tuple(self.questions))
        if self.role not in ROLES:
            raise ValueError(f"role '{self.role}' is not one of {ROLES}")
        if self.origin not in ORIGINS:
            raise ValueError(f"origin '{self.origin}' is not one of {ORIGINS}")

    @property
    def present(self) -> bool:
        """Whether the subject is in the video."""
        return self.role == "positive"

    @property
    def label(self) -> str:
        """`present` in words, as files have it."""
        return LABELS[0] if self.present else LABELS[1]
