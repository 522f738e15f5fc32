"""What is written says the same in each format, and names of people and files cannot break out of it."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.timeline.indexing import Unreadable
from pvchat_jax.timeline.intervals import Interval, ScoredWindow
from pvchat_jax.timeline.outputs import to_json, to_webvtt, write_files
from pvchat_jax.timeline.page import write_page
from pvchat_jax.timeline.search import Found, Timeline

HOSTILE = 'a<script>alert(1)</script>\n-->"&.mp4'


def timeline(path: str, name: str, *intervals: Interval) -> Timeline:
    windows = tuple(ScoredWindow(start, start + 2, 0.9, start + 1) for start in range(7210))
    return Timeline(Path(path), name, 0.0, 7211.0, windows, intervals, ("ends at 7211.0 s, 9.0 s before what its header promises",), 0.0)


@pytest.fixture
def found() -> Found:
    return Found(
        timelines=(
            timeline("one/v.mp4", "Wilson", Interval(3.25, 9.5, 0.91, 5.0), Interval(3725.5, 7211.0, 0.8, 4000.0)),
            timeline("one/v.mp4", "<b>Ann", Interval(1.0, 4.0, 0.7, 2.0)),
            timeline("two/v.mp4", "Wilson"),
            timeline(HOSTILE, "Wilson", Interval(0.0, 2.0, 0.9, 1.0)),
        ),
        unreadable=(Unreadable(Path("x.mp4"), "video x.mp4 is <empty>."),),
        num_encoded=5,
        num_gone=0,
    )


def test_subtitles_follow_webvtt(found: Found) -> None:
    blocks = to_webvtt(found.timelines[:2]).rstrip("\n").split("\n\n")
    assert blocks[0] == "WEBVTT"
    assert blocks[1] == "00:00:01.000 --> 00:00:04.000\n&lt;b&gt;Ann 70%"
    assert blocks[2] == "00:00:03.250 --> 00:00:09.500\nWilson 91%"
    assert blocks[3] == "01:02:05.500 --> 02:00:11.000\nWilson 80%"
    for block in blocks[1:]:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}\n[^\n]+", block)


def test_files_hold_the_same_intervals(found: Found, tmp_path: Path) -> None:
    names = sorted(path.name for path in write_files(tmp_path, found))
    assert [name for name in names if name.endswith(".vtt")] == [f"{Path(HOSTILE).name}.vtt", "v.mp4.2.vtt", "v.mp4.vtt"]
    values = json.loads((tmp_path / "timeline.json").read_text())
    assert values == json.loads(json.dumps(to_json(found)))
    told = {(video["path"], part["subject"], part["start"], part["end"]) for video in values["videos"] for part in video["intervals"]}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "timeline.csv").read_text(), newline="")))
    assert {(row["video"], row["subject"], float(row["start"]), float(row["end"])) for row in rows} == told
    assert len(told) == 4
    assert values["unreadable"] == [{"path": "x.mp4", "reason": "video x.mp4 is <empty>."}]


def test_the_page_has_everything_in_it(found: Found, tmp_path: Path) -> None:
    def frame(path: Path, time: float) -> np.ndarray:
        if "script" in str(path):
            raise UserError("gone")
        return np.full((480, 640, 3), int(time) % 255, np.uint8)

    write_page(tmp_path / "page.html", found, frame)
    page = (tmp_path / "page.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "The video can no longer be read." in page
    assert "<script" not in page
    assert "<b>Ann" not in page
    assert "http" not in page.replace('http-equiv="', "")
    assert "1:02:06 to 2:00:11" in page
    assert page.count('class="bar"') == 4
    assert set(re.findall(r'<a href="#(video_[^"]+)" aria-label', page)) == set(re.findall(r'<article class="card" id="([^"]+)"', page))
    assert "Wilson is seen 3 times" in page
    assert "is &lt;empty&gt;" in page
