"""Frames keep the container's times, whatever its rate and wherever it starts, and of damaged files the rest is used."""

from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.timeline.reading import LongVideo, frame_at
from pvchat_jax.timeline.windows import Look, RunEnd, Window, windows_of
from tests.data.video_files import lay_on_its_side, write_sound, write_video
from tests.timeline.long_videos import BLUE, GREEN, GREY, evenly, write_frames

VARIABLE = [(0.0, GREY), (0.1, GREEN), (0.15, GREY), (1.6, BLUE), (1.7, GREY), (2.6, GREEN), (3.9, GREY), (4.0, BLUE)]


def read(path: Path, first: int = 0) -> tuple[LongVideo, list[Look], list[RunEnd]]:
    video = LongVideo(path, 0.5, 4)
    found = list(video.looks(first))
    return video, [look for look in found if isinstance(look, Look)], [look for look in found if isinstance(look, RunEnd)]


def windows(path: Path) -> list[Window]:
    video = LongVideo(path, 0.5, 4)
    looks = list(video.looks())
    return list(windows_of(looks, video.grid))


def colour(frame: np.ndarray) -> tuple[int, int, int]:
    """The one of the colours that a decoded frame is."""
    mean = frame.reshape(-1, 3).mean(axis=0)
    return min((GREY, GREEN, BLUE), key=lambda known: float(np.abs(mean - known).sum()))


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
@pytest.mark.parametrize("start", [0.0, 7.25])
def test_a_look_sees_the_frame_that_is_on_screen(tmp_path: Path, name: str, start: float) -> None:
    path = write_frames(tmp_path / name, [(start + time, shown) for time, shown in VARIABLE])
    video, looks, _ = read(path)
    assert abs(video.clock_start - start) < (2 if name == "v.ts" else 0.01)  # a broadcast's clock has an offset of its own
    assert [look.number for look in looks] == [0, 1, 2, 3, 4, 5, 6, 7]
    expected = [0.15, 0.15, 0.15, 1.7, 1.7, 2.6, 2.6, 2.6]  # at 0.25, 0.75, ... 3.75 s
    np.testing.assert_allclose([look.time for look in looks], expected, atol=0.002)
    shown = dict(VARIABLE)
    assert [colour(look.frame) for look in looks] == [shown[time] for time in expected]


def test_reordered_frames_and_their_edit_list_keep_their_times(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.mp4", evenly([(2, GREY), (1, GREEN), (1, GREY)]), bf=3)
    _, looks, _ = read(path)
    np.testing.assert_allclose([look.time for look in looks], np.arange(8) / 2 + 0.25)
    assert [colour(look.frame) == GREEN for look in looks] == [False] * 4 + [True] * 2 + [False] * 2


def test_times_count_from_where_the_clock_starts(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.mkv", evenly([(3, GREY)], start=1.5))
    video, looks, _ = read(path)
    assert (video.clock_start, video.origin, looks[0].time, video.end) == (1.5, 0, 0.25, 3)


def test_going_on_in_the_middle_reads_the_same(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.mp4", evenly([(3, GREY), (3, GREEN), (3, BLUE)]), bf=2)
    _, whole, _ = read(path)
    video = LongVideo(path, 0.5, 4, origin=0.0)
    rest = [look for look in video.looks(11) if isinstance(look, Look)]
    assert [(look.number, look.time) for look in rest] == [(look.number, look.time) for look in whole[11:]]
    assert all(np.array_equal(look.frame, other.frame) for look, other in zip(rest, whole[11:], strict=True))


def test_raw_streams_without_a_clock_count_frames(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.h264", evenly([(3, GREY), (3, GREEN)], rate=25))
    _, whole, _ = read(path)
    assert [colour(look.frame) == GREEN for look in whole] == [False] * 6 + [True] * 6
    rest = [look for look in LongVideo(path, 0.5, 4, origin=0.0).looks(5) if isinstance(look, Look)]
    assert [(look.number, look.time) for look in rest] == [(look.number, look.time) for look in whole[5:]]
    assert colour(frame_at(path, 4.0)) == GREEN


def test_a_picture_that_stands_is_looked_at_once_and_counts_until_the_next(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.mkv", [(0, GREY), (0.5, GREEN), (20, GREY), (20.5, GREY), (100, BLUE), (100.5, BLUE)])
    spans = [(window.start, round(window.end, 1)) for window in windows(path)]
    assert spans == [(0, 2), (0.5, 20), (20, 22), (20.5, 22.5), (100, 100.6)]  # 80 s are no picture but a break


@pytest.mark.parametrize(("name", "options"), [("v.mp4", {"movflags": "faststart"}), ("v.mkv", {}), ("v.ts", {})])
def test_what_comes_before_a_damaged_end_is_used(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 3)).tolist()
    path = write_frames(tmp_path / name, [(index / 8, tuple(shown)) for index, shown in enumerate(noise)], options=options)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.6 * len(content))])
    video, looks, _ = read(path)
    assert 2.5 < video.end < 9.5
    assert len(looks) >= 5
    if name != "v.ts":  # whose header promises nothing
        assert any("damaged" in note or "before what its header promises" in note for note in video.notes)


def test_damage_in_the_middle_is_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.ts", 60)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = b"\x55" * (len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    video, looks, _ = read(path)
    assert video.end > 4.5
    assert [note for note in video.notes if "damaged from" in note]
    assert looks[-1].number == 9


def test_the_shortest_videos_are_looked_at(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.mp4", [(0, GREEN)])
    (window,) = windows(path)
    assert window.frame_times == (0, 0, 0, 0)


def test_frames_are_set_upright(tmp_path: Path) -> None:
    path = lay_on_its_side(write_video(tmp_path / "v.mp4", 12), "quarter")
    _, looks, _ = read(path)
    assert looks[0].frame.shape == (64, 48, 3)


def test_files_without_pictures_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video" * 50)
    for path in (tmp_path / "v.mp4", write_sound(tmp_path / "s.mp3"), tmp_path / "gone.mp4"):
        with pytest.raises(UserError, match=path.name):
            list(LongVideo(path, 0.5, 4).looks())


def test_the_frame_at_a_time(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "v.mkv", [(3 + time, shown) for time, shown in VARIABLE])
    assert [colour(frame_at(path, time)) for time in (0.1, 1.5, 1.65, 3.0, 99.0)] == [GREEN, GREY, BLUE, GREEN, BLUE]
