"""Puts clips of several people beside each other, in every combination of who is there and who is replaced by somebody else.

All combinations are made in this one way, so that how a clip looks does not tell who is in it.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.data.video import read_frames
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, sha256_of
from pvchat_jax.synthesis.stages import StageStore, Work, seed_of
from pvchat_jax.synthesis.watch.filming import CLIPS_FOLDER
from pvchat_jax.synthesis.watch.watching import watch, write_clip

BESIDE = "beside"
TOOL = "beside/1"
_PLACES = {2: ("left", "right"), 3: ("left", "centre", "right")}  # by number of panels


class Panel(NamedTuple):
    """A clip that fills a part of the picture.

    Attributes:
      name: who it is about. shown: whether they are seen in it.
      folder: that `clip.video` starts from.
      x: middle of the face, as a share of the clip's width.
    """

    name: str
    shown: bool
    folder: Path
    clip: Clip
    x: float


Pools = Mapping[str, Mapping[bool, Sequence[Panel]]]  # by name, those with the person and those with somebody else


def combination(number: int, names: Sequence[str]) -> frozenset[str]:
    """Who is there in the clip of a number: all combinations in turn."""
    return frozenset(name for bit, name in enumerate(names) if number >> bit & 1)


def choose_panels(pools: Pools, present: frozenset[str], *key: object) -> list[Panel]:
    """One panel for each person, from left to right, drawn with the seed that follows from `key`."""
    rng = np.random.default_rng(seed_of(BESIDE, *key))
    panels = [choices[rng.integers(len(choices))] for choices in (pools[name][name in present] for name in pools)]
    return [panels[number] for number in rng.permutation(len(panels))]


def put_beside(store: StageStore, split: str, panels: Sequence[Panel], config: SynthesisConfig) -> Clip:
    """The clip of `panels`, which is kept in `store`."""
    size = [config.num_frames, config.width // len(panels) // 2 * 2, config.height]
    work = Work(
        stage=BESIDE,
        version=1,
        tool=TOOL,
        inputs={f"panel{number}": panel.clip.sha256 for number, panel in enumerate(panels)},
        settings={"split": split, "size": size, "x": [round(panel.x, 4) for panel in panels]},
    )
    kept = store.find(work)
    if kept is not None:
        return from_json(Clip, kept)
    start = time.monotonic()
    frames = np.concatenate([panel_frames(panel, *size) for panel in panels], axis=2)
    present = [panel.name for panel in panels if panel.shown]
    name = f"{split}-beside-{len(present)}-{work.key[:8]}"
    video = f"{CLIPS_FOLDER}/{name}.mp4"
    path = store.folder / video
    write_clip(path, frames, config.num_frames / watch(panels[0].folder / panels[0].clip.video).seconds)
    clip = Clip(
        name=name,
        video=video,
        role="positive" if present else "easy_negative",
        origin="composited",
        source=panels[0].clip.source,
        tool=TOOL,
        seed=0,
        settings={"panels": [panel.clip.name for panel in panels], "present": present},
        sha256=sha256_of(path),
    )
    store.keep(work, to_json(clip), {video: clip.sha256}, seconds=time.monotonic() - start)
    return clip


def panel_frames(panel: Panel, num_frames: int, width: int, height: int) -> np.ndarray:
    """The panel's clip, uint8[T, height, width, 3], cropped around the face."""
    frames = read_frames(panel.folder / panel.clip.video, num_frames).frames
    return crop_around(frames, panel.x, width, height)


def crop_around(frames: np.ndarray, x: float, width: int, height: int) -> np.ndarray:
    """The upright part of frames uint8[T, H, W, 3] around `x`, a share of their width, in `width` x `height` pixels."""
    rows, columns = frames.shape[1:3]
    part = min(columns, rows * width / height)
    left = min(max(0.0, x * columns - part / 2), columns - part)
    box = (left, 0.0, left + part, float(rows))
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS, box=box)) for frame in frames])


def truth_of(panels: Sequence[Panel], number: int) -> dict[str, object]:
    """What is known of a panel's clip, at the place where it is in the picture now; empty if nothing is."""
    truth = dict(panels[number].clip.truth)
    if truth.get("position") is not None:
        truth["position"] = _PLACES[len(panels)][number]
    return truth
