"""Puts clips of several people together, in every combination of who is there and who is replaced by somebody else: beside each other,
or one after the other where their faces need the whole picture.

All combinations of a set are made in the same way, so that how a clip looks does not tell who is in it.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.data.video import inspect_video, read_frames, read_frames_at
from pvchat_jax.synthesis.joining.panels import Panel
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, sha256_of
from pvchat_jax.synthesis.stages import StageStore, Work
from pvchat_jax.synthesis.watch.filming import CLIPS_FOLDER
from pvchat_jax.synthesis.watch.watching import watch, write_clip

ARRANGE = "arrange"
BESIDE, IN_TURN = "beside", "in_turn"  # arrangements
_VERSION = 1  # raise it to have clips made anew
_MOST_FACES = 0.9  # of all faces, those that have to fit into a part of the picture
# By number of panels.
_PLACES = {2: ("left", "right"), 3: ("left", "centre", "right")}
_CUTS = {2: (0.5,), 3: (0.25, 0.75)}  # shares of the time; a model that looks at one frame of each quarter sees everybody
FEWEST_FRAMES = 4  # that can be cut so


def arrangement_for(widths: Sequence[float], num_panels: int) -> str:
    """How to put clips together whose faces have `widths`, shares of the picture's width; 0 where no face was seen."""
    seen = [width for width in widths if width]
    return IN_TURN if seen and np.quantile(seen, _MOST_FACES, method="lower") > 1 / num_panels else BESIDE


def arrange(store: StageStore, split: str, panels: Sequence[Panel], arrangement: str, config: SynthesisConfig) -> Clip:
    """The clip of `panels`, from left to right or from first to last, which is kept in `store`."""
    tool = f"{arrangement}/{_VERSION}"
    work = Work(
        stage=ARRANGE,
        version=_VERSION,
        tool=tool,
        inputs={f"panel{number}": panel.clip.sha256 for number, panel in enumerate(panels)},
        settings={
            "split": split,
            "size": [config.num_frames, config.width, config.height],
            "x": [round(panel.x, 4) for panel in panels],
        },
    )
    kept = store.find(work)
    if kept is not None:
        return from_json(Clip, kept)
    start = time.monotonic()
    frames = (_beside if arrangement == BESIDE else _in_turn)(panels, config)
    present = [panel.name for panel in panels if panel.shown]
    name = f"{split}-{arrangement}-{len(present)}-{work.key[:8]}"
    video = f"{CLIPS_FOLDER}/{name}.mp4"
    path = store.folder / video
    write_clip(path, frames, config.num_frames / watch(panels[0].folder / panels[0].clip.video).seconds)
    clip = Clip(
        name=name,
        video=video,
        role="positive" if present else "easy_negative",
        origin="composited",
        source=panels[0].clip.source,
        tool=tool,
        seed=0,
        settings={"panels": [panel.clip.name for panel in panels], "present": present},
        sha256=sha256_of(path),
    )
    store.keep(work, to_json(clip), {video: clip.sha256}, seconds=time.monotonic() - start)
    return clip


def _beside(panels: Sequence[Panel], config: SynthesisConfig) -> np.ndarray:
    width = config.width // len(panels) // 2 * 2
    return np.concatenate([crop_around(_frames_of(panel, config), panel.x, width, config.height) for panel in panels], axis=2)


def _in_turn(panels: Sequence[Panel], config: SynthesisConfig) -> np.ndarray:
    shots = [_cut(_frames_of(panel, config), len(panels))[number] for number, panel in enumerate(panels)]
    return np.concatenate([crop_around(shot, panel.x, config.width, config.height) for shot, panel in zip(shots, panels, strict=True)])


def _frames_of(panel: Panel, config: SynthesisConfig) -> np.ndarray:
    return read_frames(panel.folder / panel.clip.video, config.num_frames).frames


def read_shots(video: Path, num_shots: int) -> list[np.ndarray]:
    """The frames of each shot of a clip whose people are shown one after the other."""
    return _cut(read_frames_at(video, np.arange(inspect_video(video).num_frames)), num_shots)


def _cut(frames: np.ndarray, num_shots: int) -> list[np.ndarray]:
    """The shots that all frames [T, ...] of a clip are cut into; T is at least `FEWEST_FRAMES`."""
    return np.split(frames, [round(cut * len(frames)) for cut in _CUTS[num_shots]])


def crop_around(frames: np.ndarray, x: float, width: int, height: int) -> np.ndarray:
    """The upright part of frames uint8[T, H, W, 3] around `x`, a share of their width, in `width` x `height` pixels."""
    rows, columns = frames.shape[1:3]
    part = min(columns, rows * width / height)
    left = min(max(0.0, x * columns - part / 2), columns - part)
    box = (left, 0.0, left + part, float(rows))
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS, box=box)) for frame in frames])


def truth_of(panels: Sequence[Panel], number: int, arrangement: str) -> dict[str, object]:
    """What is known of a panel's clip, at the place where it is in the picture now; empty if nothing is."""
    truth = dict(panels[number].clip.truth)
    if truth.get("position") is not None and arrangement == BESIDE:
        truth["position"] = _PLACES[len(panels)][number]
    return truth
