"""The frames that come back are the ones asked for, from any format, and a bad file is one plain sentence."""

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pvchat_jax.data.preprocess import frame_indices
from pvchat_jax.data.video import inspect_video, read_frames
from pvchat_jax.errors import UserError
from tests.data.video_files import HEIGHT, WIDTH, assert_frames_are, lay_on_its_side, write_sound, write_video


@pytest.fixture
def no_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)  # makes its import fail


def test_the_asked_frames_come_back_in_rgb(tmp_path: Path) -> None:
    video = read_frames(write_video(tmp_path / "a.mp4", 37), 8)
    assert video.decoder == "decord"
    assert video.num_source_frames == 37
    assert video.frames.shape == (8, HEIGHT, WIDTH, 3)
    assert video.frames.dtype == np.uint8
    assert_frames_are(video.frames, frame_indices(37, 8))
    np.testing.assert_allclose(video.frames[0, HEIGHT // 2, 4], (250, 0, 0), atol=4)


@pytest.mark.usefixtures("no_decord")
def test_without_decord_the_same_frames_come_from_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 37)
    from_pyav = read_frames(path, 8)
    monkeypatch.undo()
    from_decord = read_frames(path, 8)
    assert (from_pyav.decoder, from_decord.decoder) == ("pyav", "decord")
    assert from_pyav.num_source_frames == from_decord.num_source_frames
    np.testing.assert_allclose(from_pyav.frames.astype(int), from_decord.frames, atol=2)


def test_where_decord_fails_pyav_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import decord

    def fail(*_: object, **__: object) -> None:
        raise decord.DECORDError("no")

    monkeypatch.setattr(decord, "VideoReader", fail)
    video = read_frames(write_video(tmp_path / "a.mp4", 20), 4)
    assert video.decoder == "pyav"
    assert_frames_are(video.frames, frame_indices(20, 4))


def trim_start(path: Path) -> Path:
    """Hides the first 7 frames behind an edit list, as phones do when a clip is cut."""
    trimmed = path.with_name("trimmed.mp4")
    with av.open(str(path)) as source, av.open(str(trimmed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= round(7 / 12 / packet.time_base)
                packet.dts -= round(7 / 12 / packet.time_base)
                packet.stream = stream
                target.mux(packet)
    return trimmed


UNEVEN_FORMATS: dict[str, Callable[[Path], Path]] = {
    "matroska": lambda folder: write_video(folder / "a.mkv", 40),
    "transport stream": lambda folder: write_video(folder / "a.ts", 40),
    "avi": lambda folder: write_video(folder / "a.avi", 40, bf="0"),
    "h265": lambda folder: write_video(folder / "a.mp4", 40, codec="libx265", **{"x265-params": "log-level=none"}),
    "fragmented": lambda folder: write_video(folder / "a.mp4", 40, container_options={"movflags": "frag_keyframe+empty_moov"}, g="4"),
}


@pytest.mark.parametrize("name", UNEVEN_FORMATS)
def test_formats_in_which_decord_misses_frames_are_read_exactly(name: str, tmp_path: Path) -> None:
    video = read_frames(UNEVEN_FORMATS[name](tmp_path), 11)
    assert video.num_source_frames == 40
    assert_frames_are(video.frames, frame_indices(40, 11))


def test_frames_that_change_size_midway_take_the_first_size(tmp_path: Path) -> None:
    first, second = write_video(tmp_path / "a.ts", 10), write_video(tmp_path / "b.ts", 10, width=128, height=96)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    video = read_frames(first, 8)
    assert video.num_source_frames == 20
    assert video.frames.shape == (8, HEIGHT, WIDTH, 3)
    assert_frames_are(video.frames[:4], frame_indices(20, 8)[:4])


def test_frames_that_an_edit_list_hides_do_not_count(tmp_path: Path) -> None:
    video = read_frames(trim_start(write_video(tmp_path / "a.mp4", 40)), 8)
    assert video.num_source_frames == 33
    assert_frames_are(video.frames, 7 + frame_indices(33, 8))


@pytest.mark.parametrize(("turn", "red_side"), [("quarter", np.s_[:, 4:12, 8:-8]), ("half", np.s_[:, 8:-8, -12:-4])])
def test_phone_videos_are_turned_upright(turn: str, red_side: tuple[slice, ...], tmp_path: Path) -> None:
    path = lay_on_its_side(write_video(tmp_path / "a.mp4", 5), turn)
    frames, _, decoder = read_frames(path, 2)
    assert decoder == "pyav", "decord 0.6 mistakes the channels of such files"
    assert frames.shape == ((2, WIDTH, HEIGHT, 3) if turn == "quarter" else (2, HEIGHT, WIDTH, 3))
    np.testing.assert_allclose(frames[red_side].mean((0, 1, 2)), (250, 0, 0), atol=6)


@pytest.mark.parametrize("decord_is_there", [True, False])
def test_a_video_of_one_frame_is_repeated(decord_is_there: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not decord_is_there:
        request.getfixturevalue("no_decord")
    video = read_frames(write_video(tmp_path / "a.mp4", 1), 8)
    assert video.num_source_frames == 1
    assert_frames_are(video.frames, [0] * 8)


def test_a_still_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (1, 2, 3)).save(tmp_path / "a.png")
    video = read_frames(tmp_path / "a.png", 3)
    assert video.num_source_frames == 1
    np.testing.assert_array_equal(video.frames, np.broadcast_to(np.array([1, 2, 3], np.uint8), (3, 10, 20, 3)))


def write_sound_with_cover(path: Path) -> Path:
    """An MP3 file with a picture in front (ID3v2.3 APIC), which FFmpeg shows as a video stream."""
    Image.new("RGB", (16, 16)).save(path.with_suffix(".png"))
    picture = b"\0image/png\0\x03\0" + path.with_suffix(".png").read_bytes()
    tag = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
    sound = write_sound(path.with_name("plain.mp3")).read_bytes()
    path.write_bytes(b"ID3\x03\0\0" + size + tag + sound)
    return path


def write_cut_short(path: Path) -> Path:
    """The index stands in front, so the file opens, but the frames end early."""
    write_video(path, 40, container_options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.7)])
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def make_directory(path: Path) -> Path:
    path.mkdir()
    return path


BAD_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "a.mp4", "does not exist"),
    "directory": (lambda folder: make_directory(folder / "a.mp4"), "is a directory"),
    "empty": (lambda folder: write_bytes(folder / "a.mp4", b""), "is empty"),
    "no video": (lambda folder: write_bytes(folder / "a.mp4", b"\0garbage" * 999), "cannot be decoded"),
    "sound only": (lambda folder: write_sound(folder / "a.mp4"), "no video stream, only audio"),
    "sound with cover": (lambda folder: write_sound_with_cover(folder / "a.mp3"), "no video stream, only audio"),
    "cut short": (lambda folder: write_cut_short(folder / "a.mp4"), "damaged or cut short"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_sentence_with_its_name(name: str, tmp_path: Path) -> None:
    write, complaint = BAD_FILES[name]
    path = write(tmp_path)
    for read in (inspect_video, lambda path: read_frames(path, 8)):
        with pytest.raises(UserError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"video {path} ")
        assert complaint in message
        assert message.endswith(".")
        assert "\n" not in message


def test_damage_inside_a_file_is_found_on_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 40)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        packet = packets[20]
        start, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mp4 cannot be decoded"):
        read_frames(path, 8)


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 10)
    other = write_video(tmp_path / "a.mkv", 10)
    read_frames(path, 2)  # loads the libraries
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        read_frames(path, 2)
        read_frames(other, 2)
    assert len(os.listdir("/dev/fd")) == before
