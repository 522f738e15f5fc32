"""Times are the container's, pictures stand upright, cuts are found, and of a damaged file the good part is used."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.records import Shot, Source
from pvchat_jax.synthesis.watch.watching import read_frames_at, sample_times, watch, write_clip
from tests.data.video_files import HEIGHT, WIDTH, assert_frames_are, grey_of, lay_on_its_side, write_sound, write_video


def write_uneven(path: Path, times: list[float]) -> Path:
    """Frame i of `write_video`, shown at `times[i]` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, "yuv420p", {"crf": "5"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey_of(index), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_uneven_frames_and_a_late_start_keep_the_containers_clock(tmp_path: Path) -> None:
    times = [5.0, 5.02, 5.5, 5.6, 7.0, 7.1]
    source = watch(write_uneven(tmp_path / "a.mkv", times))
    assert source.shots[0].start == pytest.approx(5.0)
    assert source.frames_per_second == pytest.approx(5 / 2.1)
    assert source.seconds == pytest.approx(2.1 + 2.1 / 5)
    assert source.lost_seconds == 0
    assert_frames_are(read_frames_at(source, [5.01, 5.49, 5.5, 6.9, 7.3, 0.0]), [0, 1, 2, 3, 5, 0])


def test_frames_come_in_the_order_of_the_times_and_may_repeat(tmp_path: Path) -> None:
    source = watch(write_video(tmp_path / "a.mp4", 24))
    assert_frames_are(read_frames_at(source, [1.5, 0.5, 1.5, 0.04]), [18, 6, 18, 0])


@pytest.mark.parametrize(("turn", "red_side"), [("quarter", np.s_[4:12, 8:-8]), ("half", np.s_[8:-8, -12:-4])])
def test_phone_videos_stand_upright(turn: str, red_side: tuple[slice, ...], tmp_path: Path) -> None:
    source = watch(lay_on_its_side(write_video(tmp_path / "a.mp4", 5), turn))
    (frame,) = read_frames_at(source, [0.0])
    assert (source.width, source.height) == ((HEIGHT, WIDTH) if turn == "quarter" else (WIDTH, HEIGHT))
    assert frame.shape == (source.height, source.width, 3)
    np.testing.assert_allclose(frame[red_side].mean((0, 1)), (250, 0, 0), atol=6)


def test_the_good_part_of_a_damaged_file_is_used_and_the_rest_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 48, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(0.8 * path.stat().st_size)])
    source = watch(path)
    assert 1 < source.seconds < 3.5
    assert source.seconds + source.lost_seconds == pytest.approx(4.0, abs=0.1)
    last = round(source.seconds * 12) - 1
    assert_frames_are(read_frames_at(source, [0.5, source.seconds - 0.01, 3.9]), [6, last, last])


def without_key_frame(path: Path) -> Path:
    content = write_video(path, 20, container_options={"movflags": "faststart"}).read_bytes()
    media = content.index(b"mdat") + 4
    path.write_bytes(content[:media] + bytes(len(content) - media))
    return path


def holding(content: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "write", [holding(b""), holding(b"words " * 99), write_sound, without_key_frame, lambda path: path], ids=lambda write: write.__name__
)
def test_what_is_no_video_is_one_sentence_with_its_name(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    with pytest.raises(UserError) as caught:
        watch(path)
    message = str(caught.value)
    assert message.startswith(f"video {path} ")
    assert message.count(". ") == 0
    assert message.endswith(".")


def test_a_still_picture_is_one_shot(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (1, 2, 3)).save(tmp_path / "a.png")
    source = watch(tmp_path / "a.png")
    assert len(source.shots) == 1
    assert len(sample_times(source, 1.0)) == 1


def texture(seed: int) -> np.ndarray:
    """uint8[96, 96, 3], smooth blobs of colours that differ from seed to seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))


def panned(picture: np.ndarray, number: int) -> list[np.ndarray]:
    return [picture[step : step + 48, step : step + 64] for step in range(number)]


def test_cuts_are_found_where_the_picture_changes(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [*panned(texture(0), 20), *panned(texture(1), 12), *panned(texture(2), 16)], 10.0)
    shots = watch(tmp_path / "a.mp4").shots
    assert [shot.start for shot in shots] == pytest.approx([0.0, 2.0, 3.2])
    assert [shot.end for shot in shots] == pytest.approx([2.0, 3.2, 4.8])


def test_moving_cameras_and_flashes_are_no_cuts(tmp_path: Path) -> None:
    frames = panned(texture(0), 30)
    frames[15] = np.full_like(frames[15], 255)
    write_clip(tmp_path / "a.mp4", frames, 10.0)
    shots = watch(tmp_path / "a.mp4").shots
    assert len(shots) <= 2  # the flash may part what it lights
    assert min(shot.end - shot.start for shot in shots) > 1.0


def test_where_colours_change_all_the_time_no_frame_is_a_cut(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", [texture(seed)[:48, :64] for seed in range(24)], 10.0)
    assert len(watch(tmp_path / "a.mp4").shots) == 1


@given(
    st.lists(st.floats(0.05, 30.0), min_size=1, max_size=5),
    st.floats(0.0, 100.0),
    st.floats(0.1, 30.0),
)
def test_samples_lie_within_shots_and_leave_none_out(lengths: list[float], start: float, per_second: float) -> None:
    edges = np.cumsum([start, *lengths])
    shots = tuple(Shot(start=float(edge), end=float(after)) for edge, after in itertools.pairwise(edges))
    source = Source(video="a", sha256="", seconds=1.0, lost_seconds=0.0, frames_per_second=1.0, width=2, height=2, shots=shots)
    times = sample_times(source, per_second)
    assert times == sorted(times)
    for shot in shots:
        number = sum(shot.start < time < shot.end for time in times)
        assert max(1, (shot.end - shot.start) * per_second - 1) <= number <= (shot.end - shot.start) * per_second + 1
    assert all(any(shot.start < time < shot.end for shot in shots) for time in times)


def test_a_clip_is_the_same_file_every_time_and_shows_its_frames(tmp_path: Path) -> None:
    frames = panned(texture(3), 8)
    write_clip(tmp_path / "a.mp4", frames, 8.0)
    write_clip(tmp_path / "b.mp4", iter(frames), 8.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    source = watch(tmp_path / "a.mp4")
    assert source.frames_per_second == pytest.approx(8.0)
    shown = read_frames_at(source, [(index + 0.5) / 8 for index in range(8)])
    assert np.abs(np.float32(shown) - np.float32(frames)).mean() < 4


@pytest.mark.parametrize("frames", [[], [np.zeros((47, 64, 3), np.uint8)]], ids=["none", "odd"])
def test_a_clip_that_cannot_be_written_leaves_nothing(frames: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_clip(tmp_path / "a.mp4", frames, 8.0)
    assert list(tmp_path.iterdir()) == []
