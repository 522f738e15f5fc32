"""Tracks stay within shots, people are counted once, the one seen longest comes first, and who is meant is never guessed."""

from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.people.people import choose_person, find_people
from tests.synthesis.drawn_faces import Boxes, ColourReader, film, frame_of


def moving(number: int, **starts: tuple[int, int, int]) -> list[Boxes]:
    """The squares of `number` frames; each moves one pixel to the right a frame."""
    return [{colour: (left + step, top, side) for colour, (left, top, side) in starts.items()} for step in range(number)]


def test_the_person_seen_longest_comes_first_across_shots(tmp_path: Path) -> None:
    frames = [
        *(frame_of(boxes, 60) for boxes in moving(16, green=(10, 20, 40))),
        *(frame_of(boxes, 200) for boxes in moving(24, red=(40, 20, 40), green=(100, 30, 40))),
        *(frame_of(boxes, 0) for boxes in moving(24, red=(20, 30, 40))),
    ]
    source = film(tmp_path / "a.mp4", frames)
    assert len(source.shots) == 3
    first, second = find_people(source, ColourReader())
    assert (first.seconds, second.seconds) == pytest.approx((6.0, 5.0))
    assert first.embedding == pytest.approx((1, 0, 0, 0))
    assert (first.index, second.index) == (0, 1)
    assert first.reader == "colour/1"
    assert [len(track) for track in first.tracks] == [12, 12]
    for track in (*first.tracks, *second.tracks):
        assert any(shot.start <= track[0].time < track[-1].time < shot.end for shot in source.shots)
    left = [sighting.box[0] for sighting in first.tracks[0]]
    assert left == sorted(left)
    assert left[0] == pytest.approx(41, abs=2)


def test_a_short_gap_does_not_end_a_track_and_a_long_one_does_not_make_another_person(tmp_path: Path) -> None:
    boxes = moving(48, red=(10, 20, 40))
    hidden = [*range(8, 14), *range(24, 40)]
    source = film(tmp_path / "a.mp4", [frame_of({} if index in hidden else boxes[index]) for index in range(48)])
    (person,) = find_people(source, ColourReader())
    assert len(person.tracks) == (2 if len(source.shots) == 1 else len(source.shots))
    assert person.seconds == pytest.approx((48 - len(hidden)) / 8, abs=0.3)


def test_what_is_seen_once_or_doubtful_is_no_person(tmp_path: Path) -> None:
    frames = [
        frame_of({"red": (20, 20, 40), "green": (100, 20, 30)} | ({"blue": (70, 60, 20)} if index == 9 else {})) for index in range(24)
    ]
    people = find_people(film(tmp_path / "a.mp4", frames), ColourReader({"green": 0.35}))
    assert [person.embedding.index(1) for person in people] == [0]


def test_two_boxes_on_one_face_are_one(tmp_path: Path) -> None:
    frames = [frame_of({"red": (20, 20, 60), "green": (35, 35, 20)}) for _ in range(16)]
    (person,) = find_people(film(tmp_path / "a.mp4", frames), ColourReader({"green": 0.7}))
    assert person.embedding == pytest.approx((1, 0, 0, 0))


class TwinReader(ColourReader):
    """Takes everybody for one person."""

    def _read_one(self, frame: np.ndarray) -> list:
        return [face._replace(embedding=np.float32([1, 0])) for face in super()._read_one(frame)]


def test_who_is_seen_at_one_time_is_not_one_person(tmp_path: Path) -> None:
    frames = [frame_of({"red": (20, 20, 40), "green": (100, 20, 40)}) for _ in range(16)]
    assert len(find_people(film(tmp_path / "a.mp4", frames), TwinReader())) == 2


def test_somebody_else_in_the_same_place_is_another_track(tmp_path: Path) -> None:
    frames = [frame_of({"red" if index < 12 else "green": (40, 20, 24)}) for index in range(32)]  # too small a change for a cut
    source = film(tmp_path / "a.mp4", frames)
    assert len(source.shots) == 1
    people = find_people(source, ColourReader())
    assert [person.seconds for person in people] == pytest.approx([2.5, 1.5])


def test_no_face_is_one_sentence_with_the_video_and_the_reader(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", [frame_of({})] * 8)
    with pytest.raises(UserError, match=r"no face was found in .*a\.mp4 by the reader colour/1; film .*\.$"):
        find_people(source, ColourReader())


def test_a_passer_by_raises_no_question_and_a_second_person_does(tmp_path: Path) -> None:
    frames = [frame_of({"red": (20, 20, 40)} | ({"green": (100, 20, 40)} if index < 8 else {})) for index in range(32)]
    people = find_people(film(tmp_path / "a.mp4", frames), ColourReader())
    sheet = tmp_path / "people.html"
    assert choose_person(people, None, sheet) is people[0]
    assert choose_person(people, 1, sheet) is people[1]
    with pytest.raises(UserError, match=rf"--person=2 is not in the video; look at {sheet} and choose from 0 to 1\."):
        choose_person(people, 2, sheet)
    with pytest.raises(UserError, match="--person=-1"):
        choose_person(people, -1, sheet)
    frames = [frame_of({"red": (20, 20, 40)} | ({"green": (100, 20, 40)} if index < 20 else {})) for index in range(32)]
    rivals = find_people(film(tmp_path / "b.mp4", frames), ColourReader())
    with pytest.raises(UserError, match=rf"0 for 4\.0 s, 1 for 2\.5 s\); look at {sheet} and say which one with --person=K\."):
        choose_person(rivals, None, sheet)
    assert choose_person(rivals, 0, sheet) is rivals[0]
