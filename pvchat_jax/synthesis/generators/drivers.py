"""Driving videos: somebody's movement, prepared as the two videos that WanAnimatePipeline follows.

A driver is a folder `drivers/NAME` beside the parts of the pipeline, with `pose.mp4` (the skeleton drawn on black) and `face.mp4`
(the face, cropped), frame by frame alike, as the preprocessing of Wan-Animate writes them.
"""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import PIL.Image

from pvchat_jax.data.video import inspect_video
from pvchat_jax.errors import UserError


class Driver(NamedTuple):
    """One movement."""

    name: str
    pose: Path
    face: Path

    def read(self, num_frames: int) -> tuple[list[PIL.Image.Image], list[PIL.Image.Image]]:
        """The first frames of both videos.

        Raises:
          UserError: one is damaged, or has fewer.
        """
        return _first_frames(self.pose, num_frames), _first_frames(self.face, num_frames)


def find_drivers(directory: Path) -> tuple[Driver, ...]:
    """All drivers in a folder, by name.

    Raises:
      UserError: there is none, or one lacks a video.
    """
    folders = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    drivers = tuple(Driver(folder.name, folder / "pose.mp4", folder / "face.mp4") for folder in folders)
    if not drivers:
        raise UserError(f"{directory} holds no driving videos; make a folder in it for each, with a pose.mp4 and a face.mp4.")
    for path in (path for driver in drivers for path in (driver.pose, driver.face)):
        if not path.is_file():
            raise UserError(f"driving video {path} is missing; prepare the driver with the preprocessing of Wan-Animate.")
    return drivers


def choose_driver(drivers: tuple[Driver, ...], action: str, seed: int) -> Driver:
    """The driver of the action's name or, where there is none, any that follows from the seed."""
    named = [driver for driver in drivers if driver.name == action]
    return named[0] if named else drivers[np.random.default_rng(seed).integers(len(drivers))]


def _first_frames(path: Path, count: int) -> list[PIL.Image.Image]:
    available = inspect_video(path).num_frames
    if available < count:
        raise UserError(f"driving video {path} has {available} frames and {count} are needed; set num_frames to at most {available}.")
    frames: list[PIL.Image.Image] = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            frames.append(frame.to_image())
            if len(frames) == count:
                break
    return frames
