"""Training clips from the pixels of one video: the subject, look-alikes and strangers from a corpus, all cut out and placed anew.

Everybody goes through the same compositor, and each clip of the subject is like one of somebody else in all but the person
(`clip_plans.py`). What clips show, questions about clothes, place and action can be answered from: it was read off the videos by the
same readers, or chosen by the compositor. The readers look at every clip as well, and one in which they do not see whom it should show
is made again, or left out.
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.data.record_files import write_records
from pvchat_jax.data.records import Record
from pvchat_jax.files import write_atomically
from pvchat_jax.personalisation.clip_parts import Part, read_part, write_part
from pvchat_jax.personalisation.clip_plans import Composition, cast_of, plan_clips, seen_in, sort_corpus
from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.synthesis.faces.tiny_base import Seen, TinyBaseReader
from pvchat_jax.synthesis.generators.compositor import Compositor
from pvchat_jax.synthesis.generators.cutouts import CUTTING
from pvchat_jax.synthesis.generators.generator import MadeClip
from pvchat_jax.synthesis.making.showing import shown
from pvchat_jax.world.people import Identity, Outfit
from pvchat_jax.world.plan import STRANGER, SUBJECT, Person, VideoPlan
from pvchat_jax.world.questions import ask
from pvchat_jax.world.render import encode_video

REJECTED_FILE = "rejected.json"
ALIKE = 0.9  # to the subject, from which a clip of the subject counts as one: with one attribute misread it would be 8/9
_TRIES = 3
_PARTS_FOLDER = "parts"
_AT_A_TIME = 64

Progress = Callable[[int, int], None]
Watch = Callable[[Sequence[np.ndarray]], list[list[Seen]]]


def composite_clips(
    out_dir: Path,
    subject: CutPerson,
    corpus: Sequence[CutPerson],
    *,
    name: str,
    numbers: dict[str, int],
    num_frames: int,
    seed: int,
    watch: Watch,
    progress: Progress,
) -> dict[str, Path]:
    """Makes the clips of each split of `numbers` and their records, and returns the paths of the records. `REJECTED_FILE` beside them lists
    the clips that were left out. What a stopped run has finished is found again.

    Args:
      watch: says who is in clips, as `TinyBaseReader.watch_many`.

    Raises:
      UserError: the corpus is too small.
    """
    people = {person.member.key: person for person in (*corpus, subject)}
    plans: list[Composition] = []
    compositors: dict[str, Compositor] = {}
    for split, number in numbers.items():
        cast, star = cast_of(split, corpus), seen_in(split, subject)
        members = [person.member for person in (*cast, star)]
        compositors[split] = Compositor({member.key: member for member in members}, star.member.key)
        figures = sorted({member.figure for member in members if member.lends})
        plans += plan_clips(split, number, star, sort_corpus(star, cast), figures, seed)
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    made_of = _made_of(people, subject, name, numbers, num_frames, seed)
    make = functools.partial(_make, compositors, num_frames)
    write = functools.partial(_write, out_dir, people, name)
    parts: list[Part] = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        for first in range(0, len(plans), _AT_A_TIME):
            path = out_dir / _PARTS_FOLDER / f"{first:06d}.json"
            if (part := read_part(path, made_of)) is None:
                todo = plans[first : first + _AT_A_TIME]
                checked = _make_checked(todo, lambda plans: list(executor.map(make, plans)), watch, subject.embedding)
                good = [clip for clip in checked if clip.is_good]
                written = list(executor.map(write, [clip.plan for clip in good], [clip.made for clip in good]))
                part = Part(written, {clip.plan.name: round(clip.alike, 3) for clip in checked if not clip.is_good})
                write_part(path, made_of, part)
            parts.append(part)
            progress(min(first + _AT_A_TIME, len(plans)), len(plans))
    rejected = {clip: alike for part in parts for clip, alike in part.rejected.items()}
    write_atomically(out_dir / REJECTED_FILE, json.dumps({"similarity to the subject of clips left out": rejected}, indent=1) + "\n")
    paths = {split: out_dir / f"{split}.jsonl" for split in numbers}
    for split, path in paths.items():
        write_records(path, [record for part in parts for record in part.records if Path(record.video).name.startswith(f"{split}_")])
    shutil.rmtree(out_dir / _PARTS_FOLDER)
    return paths


def _made_of(people: Mapping[str, CutPerson], subject: CutPerson, name: str, numbers: Mapping[str, int], num_frames: int, seed: int) -> str:
    """Stands for everything that decides what clips show."""
    parts = (Compositor.name, CUTTING, sorted(people), subject.member.key, name, sorted(numbers.items()), num_frames, seed)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class _Checked(NamedTuple):
    """A clip, and how alike the one who is most like the subject in it is; 0 where nobody is seen."""

    plan: Composition
    made: MadeClip
    alike: float

    @property
    def is_good(self) -> bool:
        """Whether it shows the subject if and only if it should, and somebody in any case."""
        return self.alike >= ALIKE if self.plan.grade == SUBJECT else 0 < self.alike < TinyBaseReader.same_person


def _make_checked(
    plans: Sequence[Composition], make: Callable[[Sequence[Composition]], list[MadeClip]], watch: Watch, subject: np.ndarray
) -> list[_Checked]:
    """Makes clips; those that do not show whom they should are made again, with another seed, a few times."""
    done: dict[int, _Checked] = {}
    todo = list(enumerate(plans))
    for _ in range(_TRIES):
        clips = make([plan for _, plan in todo])
        for (place, plan), clip, people in zip(todo, clips, watch([clip.frames for clip in clips]), strict=True):
            done[place] = _Checked(plan, clip, max((float(seen.embedding @ subject) for seen in people), default=0.0))
        todo = [(place, _again(done[place].plan)) for place, _ in todo if not done[place].is_good]
        if not todo:
            break
    return [done[place] for place in range(len(plans))]


def _again(plan: Composition) -> Composition:
    return plan._replace(cast=plan.cast._replace(seed=plan.cast.seed + 1))


def _make(compositors: Mapping[str, Compositor], num_frames: int, plan: Composition) -> MadeClip:
    return compositors[plan.split].make_one(plan.cast, num_frames, like=plan.like)


def _write(out_dir: Path, people: Mapping[str, CutPerson], name: str, plan: Composition, clip: MadeClip) -> Record:
    """Writes the video of a clip and returns its record."""
    content = encode_video(clip.frames)
    video = f"videos/{plan.name}.mp4"
    write_atomically(out_dir / video, content)
    parts = (people[str(clip.settings[part])].known for part in ("body", "background", "clothes"))
    truth = shown(clip.settings, plan.person.known, *parts)
    role = {SUBJECT: "positive", STRANGER: "easy_negative"}.get(plan.grade, "hard_negative")
    questions = tuple(question for question in ask(_planned(plan, role, truth), name) if question.type != "action" or truth["action"])
    return Record(
        video=video,
        subject=name,
        role=role,
        origin=Compositor.origin,
        sha256=hashlib.sha256(content).hexdigest(),
        questions=questions,
        truth={"grade": plan.grade, **clip.settings},
    )


def _planned(plan: Composition, role: str, truth: Mapping[str, Any]) -> VideoPlan:
    """What a clip shows, as the world puts it; the identity is nobody's, and an action that is unknown is any."""
    return VideoPlan(
        split=plan.split,
        index=plan.index,
        seed=plan.cast.seed,
        role=role,
        scene=truth["scene"],
        person=Person(identity=_NOBODY, outfit=Outfit(**truth["outfit"]), action=truth["action"] or "stand", position=truth["position"]),
        bystander=None,
        differences=(),
    )


_NOBODY = Identity(
    skin="pale", hair_colour="black", hair_style="short", face="round", eyes="brown", facial_hair="none", mark="none", build="slim",
    gait="steady",
)  # fmt: skip
