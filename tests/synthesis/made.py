"""Records of the synthesis that nothing was made for, for tests of what is a function of records."""

import numpy as np

from pvchat_jax.data.records import Question
from pvchat_jax.synthesis.exporting.training_set import TrainingSet, UsedClip
from pvchat_jax.synthesis.people.casting import Member
from pvchat_jax.synthesis.records import Clip, Person, Shot, Sighting, Source

QUALITY = {"sharpness": 0.9, "frontalness": 0.8, "size": 0.7, "eyes": 0.9, "exposure": 0.8}


def source(digest: str) -> Source:
    shots = (Shot(start=0.0, end=10.0),)
    return Source(
        video=f"/films/{digest}.mp4", sha256=digest, seconds=10.0, lost_seconds=0.0, frames_per_second=8.0, width=64, height=64, shots=shots
    )


def person(start: float = 0.0, end: float = 8.0, *, index: int = 0, quality: dict[str, float] | None = None) -> Person:
    """Seen four times a second."""
    times = np.arange(start, end, 0.25).tolist()
    track = tuple(Sighting(time=time, box=(8.0, 8.0, 40.0, 40.0), score=0.9, quality=quality or QUALITY) for time in times)
    return Person(index=index, seconds=end - start, tracks=(track,), embedding=(1.0, 0.0), reader="r/1")


def member(digest: str, *, role: str = "positive", split: str = "train", who: Person | None = None) -> Member:
    return Member(source=source(digest), person=who or person(), role=role, split=split, similarity=0.5)


def used_clip(
    name: str, *, split: str = "train", source: str = "1", origin: str = "composited", role: str = "positive", tool: str = "t/1"
) -> UsedClip:
    present = role == "positive"
    questions = (
        Question(
            question="Is <Wilson> in this video?", answer="Yes, <Wilson> is here." if present else "No, <Wilson> is not.", type="existence"
        ),
        Question(
            question="What is <Wilson> wearing?", answer="<Wilson> wears red." if present else "<Wilson> is not here.", type="appearance"
        ),
        Question(question="What is <Wilson> doing?", answer="<Wilson> waves." if present else "<Wilson> is not here.", type="action"),
        Question(question="Where is <Wilson>?", answer="<Wilson> is outside." if present else "<Wilson> is not here.", type="location"),
    )
    clip = Clip(name=name, video=f"clips/{name}.mp4", role=role, origin=origin, source=source, tool=tool, seed=1, sha256="0" * 64)
    return UsedClip(clip=clip, split=split, questions=questions, still=f"stills/{name}.mp4", still_sha256="1" * 64)


def training_set(
    used: list[UsedClip], *, who: Person | None = None, others: tuple[Person, ...] = (), rejected: tuple[Clip, ...] = ()
) -> TrainingSet:
    who = who or person()
    return TrainingSet(
        subject="<Wilson>",
        source=source("1"),
        people=(who, *others),
        person=who,
        portraits=(),
        reader_note="Read well.",
        used=tuple(used),
        rejected=rejected,
        set_aside=(),
    )


def good_clips(count: int = 16) -> list[UsedClip]:
    """Equally many of the subject, and of others by turns."""
    roles = ["hard_negative", "easy_negative"]
    clips = [used_clip(f"p{index}") for index in range(count)]
    return clips + [used_clip(f"n{index}", role=roles[index % 2], source="2") for index in range(count)]
