"""Makes the clip of each slot, as often as it takes until it passes its checks."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.data.near_duplicates import SeenClips
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.casting import Member
from pvchat_jax.synthesis.checking import check_clip
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.filming import CLIPS_FOLDER
from pvchat_jax.synthesis.generators.generator import ClipGenerator, ClipRequest, MadeClip, Performer, Prompt
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, Person, SetAside, sha256_of
from pvchat_jax.synthesis.slots import Slot
from pvchat_jax.synthesis.stages import StageStore, Work
from pvchat_jax.synthesis.watching import write_clip

GENERATE, CHECK = "generate", "check"
CHECKED_FRAMES = 8
_VERSIONS = {GENERATE: 1, CHECK: 1}  # raise one to have results of the stage made anew


class Filled(NamedTuple):
    """What came of a slot: the clips of its attempts, of which only the last may be unrejected, and attempts that gave none."""

    slot: Slot
    clips: tuple[Clip, ...]
    aside: tuple[SetAside, ...]

    @property
    def clip(self) -> Clip | None:
        """The clip that passed, if any did."""
        return self.clips[-1] if self.clips and not self.clips[-1].rejected else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Studio:
    """What clips are made with.

    Attributes:
      generators: what stands for each in keys. generator: loads the one of an index, when it is first needed.
      prompt_of: the prompt that follows from a random generator.
      performer_of: the performer of a member, with portraits; slow the first time.
      settings: `num_frames`, `width` and `height` of a clip. batch_size: requests that a generator gets at a time.
    """

    store: StageStore
    generators: Sequence[str]
    generator: Callable[[int], ClipGenerator]
    reader: FaceReader
    subject: Person
    prompt_of: Callable[[np.random.Generator], Prompt]
    performer_of: Callable[[Member], Performer]
    settings: Mapping[str, int]
    batch_size: int
    max_attempts: int
    seed: int


def fill(studio: Studio, slots: Sequence[Slot], advance: Callable[[], None]) -> list[Filled]:
    """Makes the clips of `slots`, all first attempts before the second ones, so that a generator is asked in batches.

    Args:
      advance: called when a slot is done.
    """
    clips: dict[str, list[Clip]] = {slot.key: [] for slot in slots}
    aside: dict[str, list[SetAside]] = {slot.key: [] for slot in slots}
    pending = list(slots)
    for attempt in range(studio.max_attempts):
        failed = []
        for slot, made in _attempt(studio, pending, attempt):
            if isinstance(made, SetAside):
                aside[slot.key].append(made)
            else:
                clips[slot.key].append(_checked(studio, slot, made))
            if isinstance(made, SetAside) or clips[slot.key][-1].rejected:
                failed.append(slot)
            else:
                advance()
        pending = failed
    for _ in pending:
        advance()
    return [Filled(slot, tuple(clips[slot.key]), tuple(aside[slot.key])) for slot in slots]


def _attempt(studio: Studio, slots: Sequence[Slot], attempt: int) -> Iterator[tuple[Slot, Clip | SetAside]]:
    """The clips of one attempt at each slot: those that were kept, then those that are made now, generator after generator."""
    missing: dict[int, list[Slot]] = {}
    for slot in slots:
        kept = studio.store.find(_work(studio, slot, attempt))
        if kept is None:
            missing.setdefault(slot.generator, []).append(slot)
        else:
            yield slot, from_json(Clip, kept)
    for index, own in missing.items():
        for first in range(0, len(own), studio.batch_size):
            yield from _make(studio, studio.generator(index), own[first : first + studio.batch_size], attempt)


def _make(studio: Studio, generator: ClipGenerator, slots: Sequence[Slot], attempt: int) -> Iterator[tuple[Slot, Clip | SetAside]]:
    requests = [_request(studio, slot, attempt) for slot in slots]
    start = time.monotonic()
    for slot, request, made in zip(slots, requests, generator.make(requests), strict=True):
        if isinstance(made, UserError):
            item = f"{slot.split} {slot.role} {slot.number}, prompt '{request.prompt.scene}, {request.prompt.action}'"
            yield slot, SetAside(item=item, stage=GENERATE, reason=str(made))
        else:
            yield slot, _keep(studio, generator, slot, attempt, made, time.monotonic() - start)
        start = time.monotonic()


def _request(studio: Studio, slot: Slot, attempt: int) -> ClipRequest:
    return ClipRequest(
        performer=studio.performer_of(slot.member),
        prompt=_prompt(studio, slot, attempt),
        seed=slot.seed(studio.seed, attempt),
        **studio.settings,
    )


def _prompt(studio: Studio, slot: Slot, attempt: int) -> Prompt:
    return studio.prompt_of(np.random.default_rng(slot.prompt_seed(studio.seed, attempt)))


def _work(studio: Studio, slot: Slot, attempt: int) -> Work:
    settings = {
        "slot": [slot.split, slot.role, slot.number, attempt],
        **studio.settings,
        "prompt": _prompt(studio, slot, attempt)._asdict(),
    }
    return Work(
        stage=GENERATE,
        version=_VERSIONS[GENERATE],
        tool=studio.generators[slot.generator],
        inputs={"member": slot.member.digest, "reader": studio.reader.name},
        settings=settings,
        seed=slot.seed(studio.seed, attempt),
    )


def _keep(studio: Studio, generator: ClipGenerator, slot: Slot, attempt: int, made: MadeClip, seconds: float) -> Clip:
    """Writes the video, then what is known of it."""
    work = _work(studio, slot, attempt)
    name = f"{slot.split}-{slot.role}-{slot.number:05d}-{work.key[:8]}"
    video = f"{CLIPS_FOLDER}/{name}.mp4"
    path = studio.store.folder / video
    write_clip(path, made.frames, generator.frames_per_second)
    clip = Clip(
        name=name,
        video=video,
        role=slot.role,
        origin=generator.origin,
        source=slot.member.source.sha256,
        tool=generator.name,
        seed=work.seed,
        settings={**_prompt(studio, slot, attempt)._asdict(), **made.settings},
        sha256=sha256_of(path),
    )
    studio.store.keep(work, to_json(clip), {video: clip.sha256}, seconds=seconds)
    return clip


def _checked(studio: Studio, slot: Slot, clip: Clip) -> Clip:
    """`clip` with what was measured about it, and why it is rejected if it is."""
    work = Work(
        stage=CHECK,
        version=_VERSIONS[CHECK],
        tool=studio.reader.name,
        inputs={"clip": clip.sha256, "member": slot.member.digest},
        settings={"same_person": studio.reader.same_person, "role": slot.role},
    )
    found = studio.store.find(work)
    if found is None:
        start = time.monotonic()
        found = _check(studio, slot, clip)
        studio.store.keep(work, found, seconds=time.monotonic() - start)
    return dataclasses.replace(clip, **found)


def _check(studio: Studio, slot: Slot, clip: Clip) -> dict[str, Any]:
    """Of the written file, which is what training will see. Repetitions are dropped later, when the clips of all workers are known."""
    frames = read_frames(studio.store.folder / clip.video, CHECKED_FRAMES).frames
    unlike = None if slot.role == "positive" else studio.subject.embedding
    still = bool(clip.settings.get("still"))
    checked = check_clip(frames, slot.member.person.embedding, studio.reader, SeenClips(), unlike=unlike, still=still)
    return {"checks": checked.checks, "rejected": checked.rejected}
