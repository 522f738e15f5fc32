"""Uploads are checked before they are kept, and none stays longer than it should."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.uploads import Uploads, shown_name
from tests.data.video_files import write_sound
from tests.server.stub import write_clip


class Clock:
    """Goes on when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


def make(folder: Path, **changes: object) -> tuple[Uploads, Clock]:
    clock = Clock()
    return Uploads(Settings(**{"workspace": folder, "upload_bytes": 10**6, "upload_ttl": 60.0, **changes}), clock), clock


def kept(folder: Path) -> list[str]:
    return [path.name for path in (folder / "uploads").glob("*")]


def test_kept_while_used_and_gone_afterwards(tmp_path: Path, clip: bytes) -> None:
    uploads, clock = make(tmp_path)
    first, second = (uploads.add(io.BytesIO(clip), "a/b\\c\x07.mp4", "") for _ in range(2))
    assert (first.filename, first.bytes, first.facts.seconds, first.facts.width) == ("c.mp4", len(clip), 2.0, 64)
    assert first.path.stat().st_mode & 0o077 == 0
    clock.now += 50
    uploads.get(first.id, "")
    clock.now += 50
    assert uploads.list("") == [first]
    assert kept(tmp_path) == [first.path.name]
    with pytest.raises(Refusal, match="upload it again"):
        uploads.get(second.id, "")
    uploads.clear()
    assert not (tmp_path / "uploads").exists()


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "file-1").write_bytes(b"old")
    make(tmp_path)
    assert kept(tmp_path) == []


def damaged(tmp_path: Path, clip: bytes) -> dict[str, bytes]:
    sound = write_sound(tmp_path / "sound.mp4").read_bytes()
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    return {
        "empty.mp4": b"",
        "text.mp4": b"hello " * 100,
        "page.html": b"<!doctype html><script>alert(1)</script>",
        "cut.mp4": clip[: len(clip) // 2],
        "headless.mp4": clip[200:],
        "sound.mp4": sound,
        "list.m3u8": playlist,
        "list.mp4": playlist,
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "picture.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
    }


def test_damaged_videos_get_one_sentence_and_leave_nothing(tmp_path: Path, clip: bytes) -> None:
    uploads, _ = make(tmp_path)
    for name, content in damaged(tmp_path, clip).items():
        with pytest.raises(Refusal) as refused:
            uploads.add(io.BytesIO(content), name, "")
        assert refused.value.status == 400 and f"'{name}'" in refused.value.message
        assert str(tmp_path) not in refused.value.message and "\n" not in refused.value.message
    assert kept(tmp_path) == [] and uploads.total_bytes() == 0


def test_limits(tmp_path: Path, clip: bytes) -> None:
    for changes, status in (
        ({"upload_bytes": len(clip) - 1}, 413),
        ({"all_upload_bytes": len(clip) - 1}, 507),
        ({"video_seconds": 1.5}, 400),
        ({"video_pixels": 64 * 63}, 400),
    ):
        uploads, _ = make(tmp_path, **changes)
        with pytest.raises(Refusal) as refused:
            uploads.add(io.BytesIO(clip), "clip.mp4", "")
        assert refused.value.status == status
    assert kept(tmp_path) == []


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, clip: bytes, data: st.DataObject) -> None:
    """Bytes are overwritten anywhere; nothing but a refusal may come of it."""
    content = bytearray(clip)
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(1, 64))] = data.draw(st.binary(min_size=1, max_size=64))
    folder = tmp_path_factory.mktemp("damage")
    uploads, _ = make(folder)
    try:
        uploads.add(io.BytesIO(bytes(content)), "clip.mp4", "")
    except Refusal as refusal:
        assert refusal.status == 400 and kept(folder) == []
    uploads.clear()


@given(st.text())
def test_names_are_fit_to_be_shown(name: str) -> None:
    shown = shown_name(name)
    assert shown and shown.isprintable() and "/" not in shown and "\\" not in shown and len(shown) <= 120
