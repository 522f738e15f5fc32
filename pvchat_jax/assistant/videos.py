"""Videos as the model saw them, and the frames that it is shown."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.preprocess import frame_indices
from pvchat_jax.data.video import frame_times, read_frames, read_frames_at
from pvchat_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """A video, or a window of one, as the model saw it.

    Attributes:
      features: float[N, L, D], the same for everybody, since the encoder is of the base.
      frame_times: seconds since the container's clock started.
      source: path or label.
    """

    features: np.ndarray
    frame_times: tuple[float, ...]
    source: str


class Window(NamedTuple):
    """Frames uint8[T, H, W, 3] and when each is shown, in seconds."""

    frames: np.ndarray
    times: tuple[float, ...]


def read_window(path: Path, num_frames: int, start: float | None, end: float | None) -> Window:
    """The frames that are sampled, as in training, of what is shown from `start` to before `end`; None takes all there is.

    Raises:
      UserError: the video cannot be read, or shows nothing then.
    """
    times = frame_times(path)
    if start is None and end is None:
        read = read_frames(path, num_frames)
        indices = frame_indices(read.num_source_frames, num_frames)
        # where packets and frames do not tally, the last time stands for what follows
        return Window(read.frames, tuple(float(times[min(index, len(times) - 1)]) for index in indices))
    first, last = np.searchsorted(times, [start or 0.0, np.inf if end is None else end])
    if first >= last:
        raise UserError(
            f"video {path} shows nothing from {start or 0:g} s to {'its end' if end is None else f'{end:g} s'}; "
            f"it lasts until {times[-1]:g} s."
        )
    indices = first + frame_indices(int(last - first), num_frames)
    return Window(read_frames_at(path, indices), tuple(float(times[index]) for index in indices))
