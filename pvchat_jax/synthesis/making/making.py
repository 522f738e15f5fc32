"""Makes the clip of each slot, as often as it takes until it passes its checks."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.generators.generator import ClipGenerator, ClipRequest, MadeClip, Performer, Prompt
from pvchat_jax.synthesis.making.checking import check_clip
from pvchat_jax.synthesis.making.slots import Slot
from pvchat_jax.synthesis.making.takes import Take, plan_take
from pvchat_jax.synthesis.people.casting import Member
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, Person, SetAside, sha256_of
from pvchat_jax.synthesis.stages import StageStore, Work
from pvchat_jax.synthesis.watch.filming import CLIPS_FOLDER
from pvchat_jax.synthesis.watch.watching import write_clip

GENERATE, CHECK = "generate", "check"
CHECKED_FRAMES = 8
_VERSIONS = {GENERATE: 3, CHECK: 2}  # raise one to have results of the stage made anew


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
      inputs: of each generator, digests by name that its clips depend on, whoever performs.
      prompt_of: the prompt that follows from a random generator.
      performer_of: the performer of a member, with portraits; slow the first time.
      settings: `num_frames`, `width` and `height` of a clip. batch_size: requests that a generator gets at a time.
    """

    store: StageStore
    generators: Sequence[str]
    inputs: Sequence[Mapping[str, str]]
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
    """Makes the clips of `slots`, first of those that others are to be like.

    Args:
      slots: with each its counterpart, if it has one.
      advance: called when a slot is done.
    """
    filled: dict[str, Filled] = {}
    passed: dict[str, int] = {}
    for likened in (False, True):
        some = [slot for slot in slots if (slot.counterpart is not None) == likened]
        for slot, (attempt, one) in zip(some, _fill(studio, some, passed, advance), strict=True):
            filled[slot.key], passed[slot.key] = one, attempt
    return [filled[slot.key] for slot in slots]


def _fill(studio: Studio, slots: Sequence[Slot], passed: Mapping[str, int], advance: Callable[[], None]) -> list[tuple[int, Filled]]:
    """What came of each slot, with the number of the last attempt; all first attempts are made before the second ones, so that a
    generator is asked in batches."""
    clips: dict[str, list[Clip]] = {slot.key: [] for slot in slots}
    aside: dict[str, list[SetAside]] = {slot.key: [] for slot in slots}
    last = dict.fromkeys(clips, 0)
    pending = list(slots)
    for attempt in range(studio.max_attempts):
        failed = []
        takes = [plan_take(slot, attempt, passed, studio.seed, studio.prompt_of) for slot in pending]
        for take, made in _attempt(studio, takes):
            slot = take.slot
            last[slot.key] = attempt
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
    return [(last[slot.key], Filled(slot, tuple(clips[slot.key]), tuple(aside[slot.key]))) for slot in slots]


def _attempt(studio: Studio, takes: Sequence[Take]) -> Iterator[tuple[Take, Clip | SetAside]]:
    """The clips of takes: those that were kept, then those that are made now, generator after generator."""
    missing: dict[int, list[Take]] = {}
    for take in takes:
        kept = studio.store.find(_work(studio, take))
        if kept is None:
            missing.setdefault(take.slot.generator, []).append(take)
        else:
            yield take, from_json(Clip, kept)
    for index, own in missing.items():
        for first in range(0, len(own), studio.batch_size):
            yield from _make(studio, studio.generator(index), own[first : first + studio.batch_size])


def _make(studio: Studio, generator: ClipGenerator, takes: Sequence[Take]) -> Iterator[tuple[Take, Clip | SetAside]]:
    requests = [_request(studio, take) for take in takes]
    start = time.monotonic()
    for take, made in zip(takes, generator.make(requests), strict=True):
        if isinstance(made, UserError):
            slot = take.slot
            item = f"{slot.split} {slot.role} {slot.number}, prompt '{take.prompt.scene}, {take.prompt.action}'"
            yield take, SetAside(item=item, stage=GENERATE, reason=str(made))
        else:
            yield take, _keep(studio, generator, take, made, time.monotonic() - start)
        start = time.monotonic()


def _request(studio: Studio, take: Take) -> ClipRequest:
    return ClipRequest(
        performer=studio.performer_of(take.slot.member),
        prompt=take.prompt,
        seed=take.seed,
        counterpart=take.counterpart,
        **studio.settings,
    )


def _work(studio: Studio, take: Take) -> Work:
    slot = take.slot
    settings = {
        "slot": [slot.split, slot.role, slot.number, take.attempt],
        **studio.settings,
        "prompt": take.prompt._asdict(),
        "counterpart": take.counterpart,
    }
    return Work(
        stage=GENERATE,
        version=_VERSIONS[GENERATE],
        tool=studio.generators[slot.generator],
        inputs={"member": slot.member.digest, "reader": studio.reader.name, **studio.inputs[slot.generator]},
        settings=settings,
        seed=take.seed,
    )


def _keep(studio: Studio, generator: ClipGenerator, take: Take, made: MadeClip, seconds: float) -> Clip:
    """Writes the video, then what is known of it."""
    work, slot = _work(studio, take), take.slot
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
        settings={**take.prompt._asdict(), **made.settings},
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
    checked = check_clip(frames, slot.member.person.embedding, studio.reader, unlike=unlike, still=still)
    return {"checks": checked.checks, "rejected": checked.rejected}
