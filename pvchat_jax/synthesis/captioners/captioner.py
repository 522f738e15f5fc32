"""What every backend that answers questions about clips offers to the rest of the synthesis."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from pvchat_jax.data.records import Question


class ClipView(NamedTuple):
    """What a captioner may look at: frames uint8[T, H, W, 3] in RGB, and what is exactly known of the clip (empty for filmed ones)."""

    frames: np.ndarray
    truth: Mapping[str, Any]


class Captioner(Protocol):
    """A backend.

    Attributes:
      name: name and version of the model, as noted in the manifest.
      leaves_machine: whether frames go to another machine, which needs the user's consent.
    """

    name: str
    leaves_machine: bool

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """An answer to each question, which speaks of "the person" instead of a name.

        `questions` come with `answer` empty, and speak of "the person" too.

        Raises:
          UserError: no answer can be had for this clip; the clip is set aside.
          ModelUnavailable: nor for any other clip.
        """
        ...
