"""Portraits are the best pictures, from different moments, and a face that shows nothing is said so."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.people.people_sheet import write_people_sheet
from pvchat_jax.synthesis.people.portraits import best_portraits, best_sightings, portraits_at
from pvchat_jax.synthesis.records import Person, Sighting, Source
from tests.synthesis.drawn_faces import HEIGHT, film, frame_of

BOXES = {"red": (90, 30, 50)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Four seconds that get lighter from frame to frame."""
    return film(tmp_path_factory.mktemp("video") / "<a> & b.mp4", [frame_of(BOXES, 60 + 4 * index) for index in range(32)])


def person_seen(*moments: tuple[float, float], box: tuple[float, float, float, float] = (90, 30, 140, 80), index: int = 0) -> Person:
    """`moments` are times and sharpnesses."""
    sightings = [Sighting(time=time, box=box, score=0.9, quality={"sharpness": sharpness, "eyes": 0.5}) for time, sharpness in moments]
    return Person(index=index, seconds=1.0, tracks=(tuple(sightings),), embedding=(1.0,), reader="colour/1")


def test_the_best_moments_come_first_and_lie_apart() -> None:
    person = person_seen((0.0, 0.3), (1.0, 0.9), (1.25, 0.8), (2.0, 0.7), (3.0, 0.2))
    assert [sighting.time for sighting in best_sightings(person, 3)] == [1.0, 2.0, 0.0]
    assert [sighting.time for sighting in best_sightings(person, 9)] == [1.0, 2.0, 0.0, 3.0, 1.25]


def test_portraits_show_head_and_shoulders_at_the_best_moments(source: Source) -> None:
    portraits = best_portraits(source, person_seen((0.4, 0.5), (3.0, 0.9)), 2, 48)
    brightness = [portrait[:5, :5].mean() for portrait in portraits]
    assert brightness == pytest.approx([60 + 4 * 24, 60 + 4 * 3], abs=3)
    for portrait in portraits:
        assert portrait.shape == (HEIGHT, HEIGHT, 3), "as far as the frame goes"
        red = np.abs(portrait.astype(int) - (230, 20, 20)).max(axis=-1) < 60
        assert red.sum() == pytest.approx(50 * 50, rel=0.05), "all of the face is in it"


def test_a_portrait_is_no_larger_than_head_and_shoulders(source: Source) -> None:
    person = person_seen((1.0, 0.9), box=(40, 20, 88, 68))
    (portrait,) = best_portraits(source, person, 1, 48)
    assert portrait.shape == (HEIGHT, HEIGHT, 3)
    tiny = dataclasses.replace(person.tracks[0][0], box=(60.0, 30.0, 80.0, 50.0))
    (portrait,) = portraits_at(source, [tiny])
    assert portrait.shape == (44, 44, 3)


@pytest.mark.parametrize(
    ("person", "complaint"),
    [
        (person_seen((1.0, 0.9), box=(10, 10, 40, 39)), "at most 29 pixels wide"),
        (person_seen((1.0, 0.05), (2.0, 0.1)), "blurred in every frame (sharpness 0.10"),
    ],
)
def test_a_face_that_shows_nothing_is_one_sentence(person: Person, complaint: str, source: Source) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)) as caught:
        best_portraits(source, person, 2, 48)
    assert source.video in str(caught.value)
    assert "film" in str(caught.value)


def test_the_sheet_shows_everybody_without_other_files(source: Source, tmp_path: Path) -> None:
    people = [person_seen((0.4, 0.5), (3.0, 0.9)), person_seen((1.0, 0.9), index=1)]
    write_people_sheet(tmp_path / "new" / "people.html", source, people)
    page = (tmp_path / "new" / "people.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 3
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "--person=0" in page
    assert "--person=1" in page
    assert "&lt;a&gt; &amp; b.mp4" in page
    assert "<a>" not in page
    assert "http" not in page
