"""An index answers a second question without encoding, goes on where it was interrupted, and keeps up with files and people."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.timeline import indexing
from pvchat_jax.timeline.forgetting import erase_person
from pvchat_jax.timeline.index import Index
from pvchat_jax.timeline.search import Found, search
from pvchat_jax.timeline.viewing import Person, Viewing
from tests.timeline.long_videos import BLUE, GREEN, GREY, evenly, write_frames
from tests.timeline.stub_watcher import ANN, VIEWING, WILSON, StubWatcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "videos"
    (place / "inside").mkdir(parents=True)
    write_frames(place / "a.mp4", evenly([(5, GREY), (6, GREEN), (5, GREY)]))
    write_frames(place / "inside" / "b.mkv", evenly([(4, BLUE), (8, GREY), (4, GREEN)], start=3.0))
    return place


def ask(place: Path, watcher: StubWatcher, *people: Person, viewing: Viewing = VIEWING) -> Found:
    return search(place, people, watcher, viewing, index_of(place))


def index_of(place: Path) -> Path:
    return (place if place.is_dir() else place.parent).parent / "index.sqlite"


def spans(found: Found) -> dict[str, list[tuple[float, float]]]:
    return {f"{of.path.name} {of.name}": [(part.start, part.end) for part in of.intervals] for of in found.timelines}


def all_windows(found: Found) -> list:
    return [timeline.windows for timeline in found.timelines]


def test_a_second_question_encodes_nothing(folder: Path) -> None:
    watcher = StubWatcher()
    found = ask(folder, watcher, WILSON)
    assert spans(found) == {"a.mp4 Wilson": [(5, 11)], "b.mkv Wilson": [(12, 16)]}
    assert watcher.num_encoded == found.num_encoded == 30  # of 16 s each, one each second
    again = ask(folder, watcher, WILSON, ANN)
    assert spans(again) == {"a.mp4 Wilson": [(5, 11)], "a.mp4 Ann": [], "b.mkv Wilson": [(12, 16)], "b.mkv Ann": [(0, 4)]}
    assert watcher.num_encoded == 30
    assert watcher.num_asked == 60  # and of Wilson everything was known


def test_what_a_pack_says_is_asked_anew_of_another_pack(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON)
    ask(folder, watcher, WILSON._replace(pack="trained longer"))
    assert (watcher.num_encoded, watcher.num_asked) == (30, 60)


def test_another_base_or_window_is_encoded_anew(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON)
    ask(folder, watcher, WILSON, viewing=VIEWING._replace(description="another base"))
    assert watcher.num_encoded == 60


@pytest.mark.parametrize("fail_after", [4, 12, 18])
def test_an_interrupted_indexing_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch, fail_after: int) -> None:
    monkeypatch.setattr(indexing, "_CHUNK_WINDOWS", 4)
    whole = ask(folder, StubWatcher(), WILSON)
    index_of(folder).unlink()
    watcher = StubWatcher(fail_after=fail_after)
    with pytest.raises(KeyboardInterrupt):
        ask(folder, watcher, WILSON)
    rest = StubWatcher()
    found = ask(folder, rest, WILSON)
    assert all_windows(found) == all_windows(whole)
    assert watcher.num_encoded + rest.num_encoded == 30


def test_moved_and_copied_videos_are_known_by_their_content(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON)
    shutil.copyfile(folder / "a.mp4", folder / "copy.mp4")
    (folder / "a.mp4").rename(folder / "z.mp4")
    found = ask(folder, watcher, WILSON)
    assert watcher.num_encoded == 30
    assert list(spans(found)) == ["copy.mp4 Wilson", "z.mp4 Wilson", "b.mkv Wilson"]


def test_changed_and_deleted_videos_are_noticed(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON)
    (folder / "inside" / "b.mkv").unlink()
    write_frames(folder / "a.mp4", evenly([(4, GREEN), (4, GREY)]))
    found = ask(folder, watcher, WILSON)
    assert spans(found) == {"a.mp4 Wilson": [(0, 4)]}
    assert (found.num_gone, found.num_encoded) == (1, 7)
    with Index(index_of(folder)) as index:
        assert index._rows("SELECT count(*) FROM videos") == [(1,)]
        assert index._rows("SELECT count(*) FROM windows") == [(7,)]


def test_what_cannot_be_read_is_listed_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "0.mp4").write_bytes(b"nothing" * 99)
    (folder / "1.mp4").touch()
    found = ask(folder, StubWatcher(), WILSON)
    assert [item.path.name for item in found.unreadable] == ["0.mp4", "1.mp4"]
    assert all("make or copy it again" in item.reason for item in found.unreadable)
    assert len(found.timelines) == 2


def test_an_empty_folder_may_be_a_disk_that_is_missing_so_nothing_is_forgotten(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON)
    aside = folder.rename(folder.parent / "aside")
    folder.mkdir()
    with pytest.raises(UserError, match="has no videos"):
        ask(folder, watcher, WILSON)
    folder.rmdir()
    aside.rename(folder)
    ask(folder, watcher, WILSON)
    assert watcher.num_encoded == 30


def test_a_video_that_grows_while_it_is_read_is_left_for_the_next_time(folder: Path) -> None:
    class Recorder(StubWatcher):
        def watch_frames(self, windows, times, source):  # type: ignore[no-untyped-def]
            os.utime(folder / "a.mp4", (1, 1))
            return super().watch_frames(windows, times, source)

    found = ask(folder, Recorder(), WILSON)
    assert [item.path.name for item in found.unreadable] == ["a.mp4"]
    assert "changed while it was read" in found.unreadable[0].reason
    assert not ask(folder, StubWatcher(), WILSON).unreadable


def test_who_may_not_be_asked_about_is_refused_also_where_all_is_known(folder: Path) -> None:
    ask(folder, StubWatcher(), WILSON)
    with pytest.raises(UserError, match="expired"):
        ask(folder, StubWatcher(refused="<Wilson>"), WILSON)


def test_erasing_a_person_leaves_no_row_about_them(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON, ANN)
    (folder / "other.sqlite").write_bytes(b"a database of somebody else")
    assert erase_person(folder.parent, "wilson") == 30
    content = index_of(folder).read_bytes().lower()
    assert b"wilson" not in content
    assert b"ann" in content
    assert erase_person(folder.parent, "<Wilson>") == 0
    ask(folder, watcher, ANN)
    assert watcher.num_asked == 60  # of Ann everything is known still


@pytest.mark.parametrize("content", [b"no database" * 500, b""])
def test_a_file_that_is_no_index_is_refused_or_made_one(folder: Path, content: bytes) -> None:
    index_of(folder).write_bytes(content)
    if content:
        with pytest.raises(UserError, match=r"index\.sqlite"):
            ask(folder, StubWatcher(), WILSON)
        assert index_of(folder).read_bytes() == content
    else:
        ask(folder, StubWatcher(), WILSON)


def test_damage_to_an_index_is_one_sentence(folder: Path) -> None:
    ask(folder, StubWatcher(), WILSON)
    with Index(index_of(folder)) as index:
        index._database.execute("UPDATE windows SET features = x'00' WHERE number = 4")
    with pytest.raises(UserError, match="damaged"):
        ask(folder, StubWatcher(), ANN)


def test_a_disk_that_is_too_small_is_told_before_hours_of_encoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing.shutil, "disk_usage", lambda place: SimpleNamespace(free=700))
    with pytest.raises(UserError, match=r"0\.01 hours of video needs about 7\.68e-07 GB"):  # 32 windows of 24 bytes
        ask(folder, StubWatcher(), WILSON)


def test_names_that_are_no_utf8_are_indexed(folder: Path) -> None:
    odd = os.fsencode(folder) + b"/\xff.mp4"
    os.rename(folder / "a.mp4", odd)
    watcher = StubWatcher()
    assert len(ask(folder, watcher, WILSON).timelines) == 2
    ask(folder, watcher, WILSON)
    assert watcher.num_encoded == 30


def test_a_single_video_leaves_the_others_of_its_folder_in_the_index(folder: Path) -> None:
    watcher = StubWatcher()
    ask(folder, watcher, WILSON)
    assert list(spans(ask(folder / "a.mp4", watcher, WILSON))) == ["a.mp4 Wilson"]
    ask(folder, watcher, WILSON)
    assert watcher.num_encoded == 30
