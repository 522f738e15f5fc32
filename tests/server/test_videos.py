"""Frames are those of the container's clock, and the timeline of a video says where somebody is."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import httpx2
import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.server.videos import check_video, frame_at, frames_at
from tests.data.video_files import lay_on_its_side, write_video
from tests.server.running import Running, stub_server
from tests.server.stub import write_clip


def write_variable(path: Path, times: list[float]) -> Path:
    """Frame k is of the grey 20 * k and shown from `times[k]` on."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000), Fraction(1, 1000)
        stream.options = {"g": "4"}
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_frames_of_a_variable_rate(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 2.0, 2.1, 9.0, 9.5, 20.0, 20.1, 20.2, 30.0]
    path = write_variable(tmp_path / "variable.mkv", times)
    wanted = [0.0, 0.15, 1.9, 2.0, 8.9, 9.2, 19.0, 20.15, 25.0, 30.0, 99.0]
    found = frames_at(path, wanted)
    greys = np.round(found.mean(axis=(1, 2, 3)) / 20).astype(int)
    assert greys.tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 10]
    assert [int(np.round(frames_at(path, [time]).mean() / 20)) for time in wanted] == greys.tolist()


def test_a_frame_is_an_upright_picture(tmp_path: Path) -> None:
    path = lay_on_its_side(write_video(tmp_path / "turned.mp4", 6), "quarter")
    assert frames_at(path, [0.1]).shape == (1, 64, 48, 3)
    assert frame_at(path, 0.1).startswith(b"\xff\xd8")
    assert check_video(path, max_seconds=10, max_pixels=10**6)[:3] == (0.5, 48, 64)


def test_a_damaged_one_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(write_video(tmp_path / "whole.mp4", 30).read_bytes()[:600])
    for read in (lambda: frames_at(path, [0.0]), lambda: check_video(path, max_seconds=10, max_pixels=10**6)):
        with pytest.raises(UserError, match=r"cut\.mp4"):
            read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("timeline")
    write_clip(folder / "videos" / "clip.mp4", greys=(40, 200, 40), frames_each=24)
    with stub_server(folder, "<Wilson>", "<Ada>", windows=20) as running:
        running.assistant.verdicts["<Wilson>"] = "bright"
        yield running


def test_the_timeline_of_a_video(server: Running) -> None:
    with httpx2.Client(base_url=server.url) as client:
        found = client.post("/v1/timeline", json={"video": "clip.mp4", "names": ["wilson", "<Ada>"], "seconds": 1}).json()
        assert found["seconds"] == 6.0
        assert [(window["start"], window["end"]) for window in found["windows"]] == [(float(start), start + 1.0) for start in range(6)]
        verdicts = [window["presence"]["<Wilson>"]["verdict"] for window in found["windows"]]
        assert verdicts == ["absent", "absent", "present", "present", "absent", "absent"]
        assert {window["presence"]["<Ada>"]["verdict"] for window in found["windows"]} == {"present"}
        many = client.post("/v1/timeline", json={"video": "clip.mp4", "names": ["Ada"], "seconds": 0.25}).json()
        assert len(many["windows"]) == 20  # as many as are allowed, over all of it
        assert client.post("/v1/timeline", json={"video": "clip.mp4", "names": ["Bob"]}).status_code == 404


def test_players_can_seek_in_a_video(server: Running) -> None:
    with httpx2.Client(base_url=server.url) as client:
        whole = client.get("/v1/videos/content", params={"video": "clip.mp4"})
        part = client.get("/v1/videos/content", params={"video": "clip.mp4"}, headers={"Range": "bytes=10-19"})
        assert whole.headers["Content-Type"] == "video/mp4"
        assert part.status_code == 206 and part.content == whole.content[10:20]
        picture = client.get("/v1/videos/frame", params={"video": "clip.mp4", "time": 2.5})
        assert picture.headers["Content-Type"] == "image/jpeg" and picture.content.startswith(b"\xff\xd8")
        assert client.get("/v1/videos/frame", params={"video": "clip.mp4", "time": "nan"}).status_code == 422
        assert client.get("/v1/videos").json()["data"] == ["clip.mp4"]
