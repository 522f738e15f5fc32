"""A watcher without a model: people are colours, and a window shows a person where its frames are of that colour."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.errors import UserError
from pvchat_jax.timeline.viewing import Person, Viewing

NUM_FRAMES = 4
WILSON, ANN = Person("<Wilson>", "pack of wilson"), Person("<Ann>", "pack of ann")
_CHANNEL = {"<Wilson>": 1, "<Ann>": 2}  # green and blue
VIEWING = Viewing(NUM_FRAMES, 2.0, "the base of these tests")


@dataclasses.dataclass
class StubWatcher:
    """Counts what it is asked for.

    Attributes:
      fail_after: windows after which encoding stops as if Ctrl-C had been pressed.
      refused: who may not be asked about.
    """

    num_encoded: int = 0
    num_asked: int = 0
    fail_after: int | None = None
    refused: str | None = None
    sources: list[str] = dataclasses.field(default_factory=list)

    def watch_frames(self, windows: Sequence[np.ndarray], times: Sequence[Sequence[float]], source: str) -> list[Watched]:
        if self.fail_after is not None and self.num_encoded >= self.fail_after:
            raise KeyboardInterrupt
        assert all(frames.shape[0] == NUM_FRAMES and frames.dtype == np.uint8 for frames in windows)
        self.num_encoded += len(windows)
        self.sources.append(Path(source).name)
        features = [frames.mean(axis=(1, 2))[None] / 255 for frames in windows]  # float[1, T, 3]
        return [Watched(array, tuple(when), source) for array, when in zip(features, times, strict=True)]

    def presence(self, watched: Sequence[Watched], name: str) -> list[Presence]:
        if name == self.refused:
            raise UserError(f"the consent of {name} expired.")
        self.num_asked += len(watched)
        return [self._presence(item.features[0], _CHANNEL[name]) for item in watched]

    def _presence(self, colours: np.ndarray, channel: int) -> Presence:
        others = np.delete(colours, channel, axis=1).max(axis=1)
        probability = 0.02 + 0.96 * float((colours[:, channel] > others + 0.2).mean())
        return Presence(probability, "present" if probability > 0.5 else "absent", 0.0)
