"""The embedded reader finds and follows photographed faces, tells them apart, and finds none where there are none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from pvchat_jax.synthesis.faces.embedded import EmbeddedReader
from pvchat_jax.synthesis.people.people import choose_person, find_people
from pvchat_jax.synthesis.people.portraits import best_portraits
from pvchat_jax.synthesis.watch.watching import watch, write_clip

FACE = (173, 64, 273, 164)  # of the astronaut: left, top, right, bottom


@pytest.fixture(scope="module")
def reader() -> EmbeddedReader:
    return EmbeddedReader()


def somebody_else() -> np.ndarray:
    """A photograph around a bundled face: uint8[240, 240, 3] in grey, the face in the middle."""
    face = Image.fromarray(np.uint8(255 * data.lfw_subset()[0])).resize((100, 100), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(face), 70, mode="edge")[..., None].repeat(3, axis=-1)


def drifting(photograph: np.ndarray, number: int, x: float, y: float, zoom: float = 1.0) -> Iterator[np.ndarray]:
    """Frames uint8[160, 200, 3] of a camera that moves around the point x, y of the photograph and zooms in."""
    for step in range(number):
        half_width, half_height = (half / (1 + (zoom - 1) * step / number) for half in (100, 80))
        left, top = x + 8 * np.sin(step / 4) - half_width, y + 5 * np.cos(step / 3) - half_height
        corners = (left, top, left + 2 * half_width, top + 2 * half_height)
        yield np.asarray(Image.fromarray(photograph).transform((200, 160), Image.Transform.EXTENT, corners, Image.Resampling.BICUBIC))


def test_a_photographed_face_is_found_where_it_is(reader: EmbeddedReader) -> None:
    faces = reader.read([data.astronaut()])[0]
    np.testing.assert_allclose(faces[0].box, FACE, atol=12)
    assert faces[0].score > 0.5
    assert all(face.score < 0.5 for face in faces[1:])
    assert faces[0].keypoints is None
    assert faces[0].embedding.dtype == np.float32
    assert np.linalg.norm(faces[0].embedding) == pytest.approx(1)


@pytest.mark.parametrize("picture", ["coffee", "chelsea", "rocket", "page"])
def test_no_face_is_found_where_there_is_none(picture: str, reader: EmbeddedReader) -> None:
    frame = getattr(data, picture)()
    frame = frame if frame.ndim == 3 else frame[..., None].repeat(3, axis=-1)
    assert all(face.score < 0.5 for face in reader.read([frame])[0])


def test_frames_too_small_for_a_face_have_none(reader: EmbeddedReader) -> None:
    assert reader.read([np.zeros((20, 300, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]) == [[], []]


def test_an_embedding_outlasts_mirror_blur_and_light(reader: EmbeddedReader) -> None:
    frame = data.astronaut()[:300, 60:400]
    smaller = np.asarray(Image.fromarray(frame).resize((221, 195), Image.Resampling.BILINEAR))
    changed = [frame, frame[:, ::-1].copy(), frame // 2, smaller, somebody_else()]
    original, *same, other = [faces[0].embedding for faces in reader.read(changed)]
    assert min(original @ embedding for embedding in same) > reader.same_person
    assert original @ other < reader.alike


def test_the_person_of_a_video_is_found_and_told_from_another(reader: EmbeddedReader, tmp_path: Path) -> None:
    astronaut = data.astronaut()
    frames = [
        *drifting(astronaut, 16, 223, 114, zoom=1.3),
        *drifting(somebody_else(), 8, 120, 120),
        *drifting(data.coffee(), 8, 300, 200),
        *(frame[:, ::-1] for frame in drifting(astronaut, 12, 223, 114)),
    ]
    write_clip(tmp_path / "a.mp4", frames, 8.0)
    source = watch(tmp_path / "a.mp4")
    assert len(source.shots) == 4
    people = find_people(source, reader)
    assert [person.seconds for person in people] == pytest.approx([3.5, 1.0], abs=0.3)
    subject = choose_person(people, None, tmp_path / "people.html")
    assert {round(track[0].time) for track in subject.tracks} == {0, 4}
    likeness = np.dot(subject.embedding, reader.read([astronaut])[0][0].embedding)
    assert likeness > reader.same_person
    assert len(best_portraits(source, subject, 3, reader.fewest_pixels)) == 3
