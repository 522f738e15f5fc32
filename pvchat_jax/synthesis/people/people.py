"""Who is in a video: faces become tracks within a shot, tracks become people, and the one seen longest is the subject."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Face, FaceReader
from pvchat_jax.synthesis.people.quality import face_quality
from pvchat_jax.synthesis.records import Person, Shot, Sighting, Source
from pvchat_jax.synthesis.watch.watching import iterate_frames_at, sample_times, times_in_shot

SAMPLES_PER_SECOND = 4.0
_BATCH = 8  # frames given to the reader at a time
_NESTED = 0.6  # of the smaller box inside the other: one face found twice
_OVERLAP = 0.3  # intersection over union that links boxes of neighbouring samples
_LONGEST_GAP = 1.0  # seconds for which a face may be missed within a track
_FEWEST_SIGHTINGS = 3  # of a track, or as many as its shot has samples: what is seen once is often no face
_MEAN_SCORE = 0.5  # of a track
_BEST_SHARE = 0.5  # of a track's sightings, by quality, that make its embedding
_RIVAL = 0.5  # of the subject's seconds: who is seen longer than that might be meant as well


class _SeenFace(NamedTuple):
    sighting: Sighting
    embedding: np.ndarray


@dataclasses.dataclass
class _Track:
    """One face while it stays in view: its sightings, one per sample, and their embeddings. A sample stands for `sample_seconds`."""

    sample_seconds: float
    sightings: list[Sighting] = dataclasses.field(default_factory=list)
    embeddings: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.sample_seconds * len(self.sightings)

    def mean_embedding(self) -> np.ndarray:
        """float[D] of length 1, from the best sightings."""
        worth = np.array([sighting.score * sighting.total_quality for sighting in self.sightings])
        best = np.argsort(-worth, kind="stable")[: max(1, round(_BEST_SHARE * len(worth)))]
        return _normalised(np.sum([self.embeddings[index] for index in best], axis=0))


def find_people(source: Source, reader: FaceReader, samples_per_second: float = SAMPLES_PER_SECOND) -> list[Person]:
    """The people of a video, the one seen longest first.

    Raises:
      UserError: no face is found.
    """
    tracks = []
    for sample_seconds, samples in _read_shots(source, reader, samples_per_second):
        fewest = min(_FEWEST_SIGHTINGS, len(samples))
        for track in _link(samples, sample_seconds, reader):
            score = np.mean([sighting.score for sighting in track.sightings])
            if len(track.sightings) >= fewest and score >= _MEAN_SCORE:
                tracks.append(track)
    if not tracks:
        raise UserError(
            f"no face was found in {source.video} by the reader {reader.name}; film the person from nearer, in good light and looking at "
            "the camera for some seconds, or choose another face reader."
        )
    groups = sorted(_cluster(tracks, reader.same_person), key=lambda group: -sum(track.seconds for track in group))
    return [
        Person(
            index=index,
            seconds=sum(track.seconds for track in group),
            tracks=tuple(tuple(track.sightings) for track in group),
            embedding=tuple(_normalised(np.sum([track.seconds * track.mean_embedding() for track in group], axis=0)).tolist()),
            reader=reader.name,
        )
        for index, group in enumerate(groups)
    ]


def choose_person(people: Sequence[Person], index: int | None, sheet: Path) -> Person:
    """The person with that index or, without one, the person seen longest, if nobody else is seen half as long.

    Args:
      people: as `find_people` returns them.
      sheet: the page that shows all of them, which messages refer to.

    Raises:
      UserError: there is nobody of that index, or only the user can tell which one is meant.
    """
    if index is not None:
        if not 0 <= index < len(people):
            raise UserError(f"--person={index} is not in the video; look at {sheet} and choose from 0 to {len(people) - 1}.")
        return people[index]
    rivals = [person for person in people[1:] if person.seconds >= _RIVAL * people[0].seconds]
    if rivals:
        seen = ", ".join(f"{person.index} for {person.seconds:.1f} s" for person in [people[0], *rivals])
        raise UserError(f"several people are seen in the video ({seen}); look at {sheet} and say which one with --person=K.")
    return people[0]


def time_span(track: Sequence[Sighting], source: Source) -> tuple[float, float]:
    """From when to when somebody is seen: every sighting stands for the time around it, as far as its shot goes."""
    times = [sighting.time for sighting in track]
    around = min((after - before for before, after in itertools.pairwise(times)), default=1 / source.frames_per_second) / 2
    shot = next((shot for shot in source.shots if shot.start <= times[0] < shot.end), Shot(start=times[0], end=times[-1]))
    return max(times[0] - around, shot.start), min(times[-1] + around, shot.end)


def _read_shots(source: Source, reader: FaceReader, per_second: float) -> Iterator[tuple[float, list[list[_SeenFace]]]]:
    """For each shot the seconds that a sample stands for, and the faces of each sample."""
    frames = iterate_frames_at(source, sample_times(source, per_second))
    for shot in source.shots:
        times = times_in_shot(shot, per_second)
        samples = []
        for start in range(0, len(times), _BATCH):
            pictures = list(itertools.islice(frames, len(times[start : start + _BATCH])))
            for time, picture, faces in zip(times[start : start + _BATCH], pictures, reader.read(pictures), strict=True):
                samples.append([_SeenFace(_sighting(time, picture, face), face.embedding) for face in _distinct(faces)])
        yield (shot.end - shot.start) / len(times), samples


def _sighting(time: float, picture: np.ndarray, face: Face) -> Sighting:
    return Sighting(time=time, box=face.box, score=face.score, quality=face_quality(picture, face))


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Without boxes that lie mostly inside or around that of a face with a larger score."""
    kept: list[Face] = []
    for face in faces:
        if all(_shared(face.box, other.box) < _NESTED * min(_area(face.box), _area(other.box)) for other in kept):
            kept.append(face)
    return kept


def _link(samples: Sequence[Sequence[_SeenFace]], sample_seconds: float, reader: FaceReader) -> list[_Track]:
    """Tracks within one shot: the likeliest pairs of a track and a face of the next sample first, each used once."""
    tracks: list[_Track] = []
    for faces in samples:
        pairs = []
        for track, (face, (sighting, embedding)) in itertools.product(tracks, enumerate(faces)):
            if sighting.time - track.sightings[-1].time > _LONGEST_GAP + sample_seconds:
                continue
            likeness = float(track.embeddings[-1] @ embedding)
            overlap = _overlap(track.sightings[-1].box, sighting.box)
            if likeness >= reader.same_person or (overlap >= _OVERLAP and likeness >= reader.alike):
                pairs.append((likeness + overlap, track, face))
        extended: list[_Track] = []
        free = set(range(len(faces)))
        for _, track, face in sorted(pairs, key=lambda pair: -pair[0]):
            if face in free and not any(track is other for other in extended):
                free.remove(face)
                extended.append(track)
                track.sightings.append(faces[face].sighting)
                track.embeddings.append(faces[face].embedding)
        tracks += [_Track(sample_seconds, [faces[face].sighting], [faces[face].embedding]) for face in sorted(free)]
    return tracks


def _cluster(tracks: Sequence[_Track], same_person: float) -> list[list[_Track]]:
    """Joins the two groups whose mean embeddings are most alike as long as they pass for one person.

    Tracks seen at one time are never one person, and neither are groups with such tracks.
    """
    groups = [[track] for track in tracks]
    sums = np.array([track.seconds * track.mean_embedding() for track in tracks])
    times = [{sighting.time for sighting in track.sightings} for track in tracks]
    apart = np.array([[not first.isdisjoint(second) for second in times] for first in times])  # on the diagonal too
    means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    likeness = np.where(apart, -np.inf, means @ means.T)
    while True:
        kept, joined = (int(number) for number in np.unravel_index(likeness.argmax(), likeness.shape))
        if likeness[kept, joined] < same_person:
            return [sorted(group, key=lambda track: track.sightings[0].time) for group in groups if group]
        groups[kept] += groups[joined]
        groups[joined] = []
        sums[kept] += sums[joined]
        means[kept] = _normalised(sums[kept])
        apart[kept] |= apart[joined]
        apart[:, kept] = apart[kept]
        apart[joined] = apart[:, joined] = True
        likeness[kept] = likeness[:, kept] = means @ means[kept]
        likeness[apart] = -np.inf


def _normalised(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


_Box = tuple[float, float, float, float]


def _area(box: _Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(first: _Box, second: _Box) -> float:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, across) * max(0.0, down)


def _overlap(first: _Box, second: _Box) -> float:
    """Intersection over union."""
    shared = _shared(first, second)
    return shared / (_area(first) + _area(second) - shared)
