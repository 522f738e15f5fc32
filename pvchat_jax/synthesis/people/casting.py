"""Who appears in the clips: the subject, look-alikes and other people, each with a role and the split that their video is for."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.people.finding import Found
from pvchat_jax.synthesis.people.portraits import require_clear_face
from pvchat_jax.synthesis.records import Person, SetAside, Source
from pvchat_jax.synthesis.retrieval.corpus import Corpus
from pvchat_jax.synthesis.stages import digest_of, seed_of

CAST = "cast"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """Somebody who appears.

    Attributes:
      role: one of `records.ROLES`. split: one of `splitting.SPLITS`, that of the video.
      similarity: to the subject, of embeddings.
    """

    source: Source
    person: Person
    role: str
    split: str
    similarity: float

    @functools.cached_property
    def digest(self) -> str:
        """Tells who this is, by the content of the video and the place in it."""
        tracks = [[(sighting.time, *sighting.box) for sighting in track] for track in self.person.tracks]
        return digest_of([self.source.sha256, self.person.index, tracks])


def similarity(first: Person, second: Person) -> float:
    """Cosine of the embeddings.

    Raises:
      ValueError: they come from different readers, and mean nothing together.
    """
    if first.reader != second.reader:
        raise ValueError(f"embeddings of '{first.reader}' and '{second.reader}' cannot be compared")
    return sum(a * b for a, b in zip(first.embedding, second.embedding, strict=True))


def cast_others(
    subject: Person, found: Iterable[Found], reader: FaceReader, splits: Mapping[str, str]
) -> tuple[list[Member], list[SetAside]]:
    """Everybody in `found` as a negative, most alike first; who may be the subject is set aside and never labelled either way.

    Args:
      splits: by digest of the video.
    """
    members, aside = [], []
    for source, people in found:
        for person in people:
            alike = similarity(subject, person)
            if alike >= reader.same_person:
                reason = f"may be the subject, at a similarity of {alike:.2f}, so it is neither a positive nor a negative"
                aside.append(SetAside(item=_item(source, person), stage=CAST, reason=reason))
                continue
            try:
                require_clear_face(source, person, reader.fewest_pixels)
            except UserError as error:
                aside.append(SetAside(item=_item(source, person), stage=CAST, reason=str(error)))
                continue
            role = "hard_negative" if alike >= reader.alike else "easy_negative"
            members.append(Member(source=source, person=person, role=role, split=splits[source.sha256], similarity=alike))
    return sorted(members, key=lambda member: (-member.similarity, member.digest)), aside


def _item(source: Source, person: Person) -> str:
    return f"{Path(source.video).name}, person {person.index}"


def cast_in_test(subject: Person, found: Found, reader: FaceReader) -> tuple[list[Member], list[SetAside]]:
    """Who is in a test video that the user gave: the subject, and others as negatives."""
    members = []
    for person in found.people:
        alike = similarity(subject, person)
        role = "positive" if alike >= reader.same_person else "hard_negative" if alike >= reader.alike else "easy_negative"
        members.append(Member(source=found.source, person=person, role=role, split="test", similarity=alike))
    if not any(member.role == "positive" for member in members):
        best = max(member.similarity for member in members)
        reason = (
            f"only other people are in it, the most alike at a similarity of {best:.2f} of the {reader.same_person:.2f} that are needed"
        )
        return [], [SetAside(item=Path(found.source.video).name, stage=CAST, reason=reason)]
    return members, []


def choose_files(corpus: Corpus, subject: Person, reader: FaceReader, count: int, seed: int) -> list[Path]:
    """Files of a corpus that show at most `count` people: the nearest look-alikes for one half, anybody else for the rest."""
    embedding, band = np.asarray(subject.embedding, np.float32), (reader.alike, reader.same_person)
    alike = corpus.nearest(embedding, max(1, count // 2), band)
    others = corpus.strangers(embedding, count - len(alike), band, np.random.default_rng(seed_of(seed, CAST)))
    return list(dict.fromkeys(face.file for face in (*alike, *others)))
