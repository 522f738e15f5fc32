"""Clips that are cut out of filmed videos, in which somebody is seen for some seconds without a cut."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.people.casting import Member
from pvchat_jax.synthesis.people.people import time_span
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, Person, SetAside, sha256_of
from pvchat_jax.synthesis.stages import StageStore, Work, digest_of
from pvchat_jax.synthesis.watch.watching import read_frames_at, write_clip

FILM = "film"
_VERSION = 2  # raise it to have clips cut anew
CAMERA = "camera"  # of which everything filmed is, so that it can be counted like the other tools
CLIPS_FOLDER = "clips"
_SHORTEST = 0.5  # seconds; below, nothing happens in a clip


class Window(NamedTuple):
    """A stretch of the video of `member`, in seconds of the container's clock, `end` exclusive."""

    member: Member
    start: float
    end: float

    @property
    def key(self) -> str:
        """What decides which worker cuts it."""
        return digest_of([self.member.digest, self.start, self.end])


def windows_of(member: Member, *, seconds: float, count: int, without: Sequence[Person] = ()) -> list[Window]:
    """At most `count` windows of about `seconds` in which the person is seen, spread evenly over all there are.

    Args:
      without: people who must not be seen in them.
    """
    found = [window for window in _windows(member, seconds) if not any(_seen(person, window) for person in without)]
    return [found[index * len(found) // count] for index in range(count)] if len(found) > count else found


def _windows(member: Member, seconds: float) -> Iterator[Window]:
    for track in member.person.tracks:
        start, end = time_span(track, member.source)
        parts = max(1, int((end - start) / seconds))
        if end - start < _SHORTEST:
            continue
        length = min(seconds, end - start)
        for part in range(parts):
            begin = start + part * (end - start - length) / max(1, parts - 1) if parts > 1 else start
            yield Window(member, round(begin, 3), round(begin + length, 3))


def _seen(person: Person, window: Window) -> bool:
    return any(window.start <= sighting.time <= window.end for track in person.tracks for sighting in track)


def plan_windows(subject: Member, others: Sequence[Member], *, seconds: float, count: int) -> list[tuple[str, Window]]:
    """The windows of everybody, with their splits; those of other people do not show the subject.

    In train the subject gets no more of them than others together, but one: being filmed must not tell the label. Calibration has
    made clips alone, which are what its threshold is for.
    """
    shown: dict[str, list[Person]] = {subject.source.sha256: [subject.person]}
    for member in others:
        if member.role == "positive":
            shown.setdefault(member.source.sha256, []).append(member.person)
    stretches: dict[tuple[str, float, float], tuple[str, Window]] = {}
    for member in others:
        if member.split != "calibration":
            hidden = shown.get(member.source.sha256, ()) if member.role != "positive" else ()
            for window in windows_of(member, seconds=seconds, count=count, without=hidden):
                # of two people who are seen together the first, who is more alike, makes it a clip
                stretches.setdefault((member.source.sha256, window.start, window.end), (member.split, window))
    planned = list(stretches.values())
    num_negatives = sum(split == "train" for split, _ in planned)
    own = windows_of(subject, seconds=seconds, count=min(count, max(1, num_negatives)))
    return [("train", window) for window in own] + planned


class Filmed(NamedTuple):
    """Clips with their splits, and windows that could not be read."""

    clips: tuple[tuple[str, Clip], ...]
    aside: tuple[SetAside, ...]


def cut_all(store: StageStore, planned: Sequence[tuple[str, Window]], config: SynthesisConfig, advance: Callable[[], None]) -> Filmed:
    """Cuts the windows out, with `num_frames` frames that fit into `width` x `height`."""
    clips, aside = [], []
    for split, window in planned:
        try:
            clips.append((split, _cut(store, split, window, config)))
        except UserError as error:
            item = f"{window.start:.1f} to {window.end:.1f} s of {window.member.source.video}"
            aside.append(SetAside(item=item, stage=FILM, reason=str(error)))
        advance()
    return Filmed(tuple(clips), tuple(aside))


def _cut(store: StageStore, split: str, window: Window, config: SynthesisConfig) -> Clip:
    member = window.member
    work = Work(
        stage=FILM,
        version=_VERSION,
        tool=CAMERA,
        inputs={"video": member.source.sha256},
        settings={
            "split": split,
            "role": member.role,
            "window": [window.start, window.end],
            "size": [config.num_frames, config.width, config.height],
        },
    )
    kept = store.find(work)
    if kept is not None:
        return from_json(Clip, kept)
    begun = time.monotonic()
    times = window.start + (np.arange(config.num_frames) + 0.5) * (window.end - window.start) / config.num_frames
    frames = [_fitted(frame, config.width, config.height) for frame in read_frames_at(member.source, times.tolist())]
    name = f"{split}-{member.role}-filmed-{work.key[:8]}"
    video = f"{CLIPS_FOLDER}/{name}.mp4"
    path = store.folder / video
    write_clip(path, np.stack(frames), config.num_frames / (window.end - window.start))
    clip = Clip(
        name=name,
        video=video,
        role=member.role,
        origin="real" if member.role == "positive" else "retrieved",
        source=member.source.sha256,
        tool=CAMERA,
        seed=0,
        settings={"start": window.start, "end": window.end},
        sha256=sha256_of(path),
    )
    store.keep(work, to_json(clip), {video: clip.sha256}, seconds=time.monotonic() - begun)
    return clip


def _fitted(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8[H, W, 3] made smaller, where it is larger, to even sides."""
    scale = min(1.0, width / frame.shape[1], height / frame.shape[0])
    size = tuple(max(2, 2 * round(side * scale / 2)) for side in (frame.shape[1], frame.shape[0]))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
