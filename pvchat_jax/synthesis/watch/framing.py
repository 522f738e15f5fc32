"""Brings the stretch of a video in which somebody is seen best to one number, rate and size of frames, as a compositor needs them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pvchat_jax.synthesis.people.people import time_span
from pvchat_jax.synthesis.records import Person, Sighting, Source
from pvchat_jax.synthesis.watch.watching import read_frames_at


class Framed(NamedTuple):
    """Frames uint8[T, H, W, 3] of one shot, and where the head is in each, float[T, 4] in their pixels."""

    frames: np.ndarray
    boxes: np.ndarray


def frame_person(source: Source, person: Person, rate: float, num_frames: int, width: int, height: int) -> Framed:
    """Frames of the longest track, scaled to cover `width` x `height` and cropped to their middle, or to where the head is.

    Args:
      rate: frames per second, so that people move as they do; slower where the track is too short for that.

    Raises:
      UserError: the video cannot be read.
    """
    track = max(person.tracks, key=lambda track: track[-1].time - track[0].time)
    times = _times(track, time_span(track, source), rate, num_frames)
    seen_at = [sighting.time for sighting in track]
    boxes = np.stack([np.interp(times, seen_at, side) for side in np.array([sighting.box for sighting in track]).T], axis=1)
    frames = read_frames_at(source, times.tolist())
    scale = max(width / frames[0].shape[1], height / frames[0].shape[0])
    size = [max(least, round(side * scale)) for side, least in zip(frames[0].shape[1::-1], (width, height), strict=True)]
    first, last = boxes.min(axis=0) * scale, boxes.max(axis=0) * scale
    left = _start(size[0], width, first[0], last[2])
    top = _start(size[1], height, first[1], last[3])
    resized = [Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS) for frame in frames]
    cropped = [np.asarray(picture.crop((left, top, left + width, top + height))) for picture in resized]
    return Framed(np.stack(cropped), boxes * scale - np.array([left, top, left, top]))


def _times(track: Sequence[Sighting], span: tuple[float, float], rate: float, num_frames: int) -> np.ndarray:
    """float64[num_frames] within the `span` of a track, from where it is of the best quality."""
    seconds = min(num_frames / rate, span[1] - span[0])
    worth = {}
    for start in (span[0], *(sighting.time for sighting in track)):
        if start + seconds <= span[1] + 1e-6:
            inside = [sighting.score * sighting.total_quality for sighting in track if start <= sighting.time <= start + seconds]
            worth[start] = float(np.mean(inside)) if inside else 0.0
    first = max(worth, key=worth.__getitem__)
    return first + (np.arange(num_frames) + 0.5) * seconds / num_frames


def _start(side: int, wanted: int, first: float, last: float) -> int:
    """Where a window of `wanted` pixels begins: in the middle of `side`, or moved to show from `first` to `last`."""
    middle = (side - wanted) / 2
    return min(max(0, round(min(max(middle, last - wanted), first))), side - wanted)
