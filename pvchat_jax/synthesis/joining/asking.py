"""Asks about several people in one clip."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pvchat_jax.data.records import Question
from pvchat_jax.data.video import read_frames
from pvchat_jax.synthesis.asking.asking import ask_clip_about_several
from pvchat_jax.synthesis.asking.questioning import ASK, SHOWN_FRAMES
from pvchat_jax.synthesis.backends import Backends
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.joining.arranging import crop_around, read_shots, truth_of
from pvchat_jax.synthesis.joining.clips import JointClip
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import SetAside
from pvchat_jax.synthesis.stages import StageStore, Work, digest_of, seed_of

_VERSION = 2  # raise it to have questions asked anew


def ask_about_everybody(
    one: JointClip, store: StageStore, backends: Backends, seed: int, report: Callable[[SetAside], None]
) -> tuple[Question, ...]:
    """Questions about each person and about all at once, kept in `store`; `report` is told of answers that were of no use.

    Raises:
      UserError: nothing can be asked about this clip.
      ModelUnavailable: nothing at all can be asked.
    """
    captioner = backends.captioner
    truths = {name: _truth(one, name) for name in one.present}
    work = Work(
        stage=ASK,
        version=_VERSION,
        tool=captioner.name,
        inputs={"clip": one.clip.sha256, "phrases": digest_of(to_json(backends.phrases))},
        settings={
            "roles": dict(one.roles),
            "name": one.clip.name,
            "truths": truths,
            "arrangement": one.arrangement,
            "counts": dict(backends.counts),
        },
        seed=seed,
    )
    kept = store.find(work)
    if kept is None:
        start = time.monotonic()
        video = store.folder / one.clip.video
        views = {name: ClipView(_frames_of(one, name, video), truths[name]) if name in one.present else None for name in one.roles}
        rng = np.random.default_rng(seed_of(seed, ASK, one.clip.name))
        useless: list[SetAside] = []
        questions = ask_clip_about_several(
            one.clip, views, captioner, rng, phrases=backends.phrases, counts=backends.counts, report=useless.append
        )
        kept = {"questions": [to_json(question) for question in questions], "useless": [to_json(item) for item in useless]}
        store.keep(work, kept, seconds=time.monotonic() - start)
    for item in kept["useless"]:
        report(from_json(SetAside, item))
    return tuple(from_json(Question, question) for question in kept["questions"])


def _truth(one: JointClip, name: str) -> dict[str, Any]:
    """What is known of somebody who is there."""
    if not one.panels:
        return dict(one.clip.truth) if name in one.owners else {}
    return truth_of(one.panels, _panel_of(one, name), one.arrangement)


def _frames_of(one: JointClip, name: str, video: Path) -> np.ndarray:
    """Frames uint8[T, H, W, 3] of a clip that show somebody who is there, without those who could be meant as well."""
    if one.is_in_turn:
        return read_shots(video, len(one.panels))[_panel_of(one, name)]
    frames = read_frames(video, SHOWN_FRAMES).frames
    height, width = frames.shape[1:3]
    shares = len(one.panels) or len(one.present)
    return crop_around(frames, one.sights.by_name[name].x, width // shares, height) if shares > 1 else frames


def _panel_of(one: JointClip, name: str) -> int:
    """Number of the panel that is about somebody."""
    return [panel.name for panel in one.panels].index(name)
