"""The pictures that a base model is trained on, drawn once into arrays.

`pixels.npy` is uint8[N, T, S, S, 3] and `labels.npz` has the arrays of `truth.Labels` with a leading N. The frames are those
that the model would get from the encoded videos but for the losses of the codec.
"""

import concurrent.futures
import functools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.data.preprocess import resize_bicubic
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.pretraining.truth import Labels, labels_of
from pvchat_jax.world.build import WORLD_VERSION
from pvchat_jax.world.plan import plan_base_video
from pvchat_jax.world.render import render_frames
from pvchat_jax.world.staging import spread_frames

PIXELS, LABELS, DONE = "pixels.npy", "labels.npz", "done.json"
_CHUNK = 64  # videos that a worker draws at a time

Progress = Callable[[int, int], None]


class Pictures(NamedTuple):
    """`pixels: uint8[N, T, S, S, 3]` and `labels`, each array with a leading N."""

    pixels: np.ndarray
    labels: Labels


def draw_pictures(directory: Path, *, seed: int, num_videos: int, num_frames: int, image_size: int, progress: Progress) -> Pictures:
    """Draws base videos 0 to `num_videos`, or finds them drawn; an interrupted drawing starts again.

    Raises:
      UserError: `directory` holds pictures of other settings.
    """
    sizes = {"num_videos": num_videos, "num_frames": num_frames, "image_size": image_size}
    settings = {"world_version": WORLD_VERSION, "seed": seed} | sizes
    if not (directory / DONE).is_file():
        _draw_all(directory, settings, progress)
        write_atomically(directory / DONE, json.dumps(settings) + "\n")
    elif (found := json.loads((directory / DONE).read_text(encoding="utf-8"))) != settings:
        raise UserError(f"{directory} holds pictures of {found}, not of {settings}; delete that folder or choose another output_dir.")
    with np.load(directory / LABELS) as arrays:
        labels = Labels(**{name: arrays[name] for name in Labels._fields})
    return Pictures(np.load(directory / PIXELS), labels)  # in memory: batches are random, and pages of a mapped file may be taken away


def _draw_all(directory: Path, settings: dict[str, int], progress: Progress) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    total, size = settings["num_videos"], settings["image_size"]
    shape = (total, settings["num_frames"], size, size, 3)
    pixels = np.lib.format.open_memmap(directory / PIXELS, mode="w+", dtype=np.uint8, shape=shape)
    collected: list[Labels | None] = [None] * total
    draw = functools.partial(_draw_chunk, **{name: settings[name] for name in ("seed", "num_frames", "image_size")})
    starts = range(0, total, _CHUNK)
    # Not forked: the caller may have threads of other libraries. Interrupts are left to this process, which then stops the others.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(os.cpu_count() or 1, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        chunks = executor.map(draw, [range(start, min(start + _CHUNK, total)) for start in starts])
        for start, (drawn, labels) in zip(starts, chunks, strict=True):
            pixels[start : start + len(drawn)] = drawn
            collected[start : start + len(labels)] = labels
            progress(start + len(drawn), total)
    finally:
        executor.shutdown(cancel_futures=True)
    pixels.flush()
    stacked = {name: np.stack([getattr(labels, name) for labels in collected]) for name in Labels._fields}
    np.savez(directory / LABELS, **stacked)


def _draw_chunk(indices: range, *, seed: int, num_frames: int, image_size: int) -> tuple[np.ndarray, list[Labels]]:
    drawn, labels = [], []
    for index in indices:
        plan, frames = plan_base_video(seed, index), spread_frames(index, num_frames)
        small = resize_bicubic(render_frames(plan, frames=frames), image_size, image_size)
        drawn.append(np.clip(np.round(small), 0, 255).astype(np.uint8))
        labels.append(labels_of(plan, frames))
    return np.stack(drawn), labels
