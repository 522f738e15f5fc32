"""No path leads out of the folder, whatever it looks like, and nobody gets another one's upload."""

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.server.library import Library
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.uploads import Uploads
from tests.server.stub import write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("library")
    write_clip(root / "videos" / "sub" / "inside.mp4")
    write_clip(root / "videos-of-others" / "secret.mp4")
    (root / "videos" / "notes.txt").write_text("private")
    (root / "videos" / "damaged.mp4").write_bytes(b"\0" * 100)
    (root / "videos" / "link.mp4").symlink_to(root / "videos-of-others" / "secret.mp4")
    (root / "videos" / "dir").symlink_to(root / "videos-of-others")
    (root / "videos" / "loop.mp4").symlink_to(root / "videos" / "loop.mp4")
    (root / "videos" / "own.mp4").symlink_to(root / "videos" / "sub" / "inside.mp4")
    return root


@pytest.fixture
def library(folder: Path) -> Iterator[Library]:
    settings = Settings(workspace=folder / "work", videos=folder / "videos")
    uploads = Uploads(settings)
    yield Library(settings, uploads)
    uploads.clear()


def test_what_is_inside_is_found(library: Library, folder: Path) -> None:
    inside = folder / "videos" / "sub" / "inside.mp4"
    for name in ("sub/inside.mp4", "./sub/../sub/inside.mp4", str(inside), inside.as_uri(), f"file://{quote(str(inside))}", "own.mp4"):
        assert library.find(name, "") == (inside, "sub/inside.mp4")
    assert library.list() == ["damaged.mp4", "link.mp4", "loop.mp4", "own.mp4", "sub/inside.mp4"]


OUTSIDE = (
    "../videos-of-others/secret.mp4",
    "sub/../../videos-of-others/secret.mp4",
    "..%2fvideos-of-others%2fsecret.mp4",
    "%2e%2e/videos-of-others/secret.mp4",
    "..\\videos-of-others\\secret.mp4",
    "{folder}/videos-of-others/secret.mp4",
    "file://{folder}/videos-of-others/secret.mp4",
    "file://{folder}/videos/%2e%2e/videos-of-others/secret.mp4",
    "file://{folder}/videos/..%2fvideos-of-others/secret.mp4",
    "FILE:{folder}/videos-of-others/secret.mp4",
    "link.mp4",
    "dir/secret.mp4",
    "loop.mp4",
    "notes.txt",
    "sub",
    "",
    ".",
    "/etc/passwd",
    "sub/inside.mp4\0.txt",
    "x" * 5000,
    "~/a.mp4",
    "concat:sub/inside.mp4|sub/inside.mp4",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_outside_is_not_there(library: Library, folder: Path, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        library.find(name.format(folder=folder), "")
    assert refused.value.status == 404
    assert str(folder / "videos-of-others") not in refused.value.message or "{folder}" in name


@given(
    st.lists(st.sampled_from(["..", ".", "sub", "dir", "videos", "videos-of-others", "secret.mp4", "link.mp4", "", "%2e%2e"]), max_size=6)
)
def test_no_mixture_leads_out(folder: Path, parts: list[str]) -> None:
    settings = Settings(workspace=folder / "work2", videos=folder / "videos")
    try:
        found = Library(settings, Uploads(settings)).find("/".join(parts), "")
    except Refusal:
        return
    assert found.path.is_relative_to(folder / "videos")


def test_damaged_videos_and_addresses_get_a_sentence(library: Library) -> None:
    with pytest.raises(Refusal, match=r"'damaged\.mp4' cannot be read"):
        library.find("damaged.mp4", "")
    for address in ("data:video/mp4;base64,%%%", "data:video/mp4,AAAA", "data:", "data:video/mp4;base64,AAAA"):
        with pytest.raises(Refusal) as refused:
            library.find(address, "")
        assert refused.value.status == 400
    for address in ("http://127.0.0.1/a.mp4", "https://example.org/a.mp4"):
        with pytest.raises(Refusal, match="fetches nothing"):
            library.find(address, "")


def test_uploads_belong_to_who_sent_them(library: Library, folder: Path) -> None:
    content = (folder / "videos" / "sub" / "inside.mp4").read_bytes()
    address = "data:video/mp4;base64," + base64.b64encode(content).decode()
    path, _ = library.find(address, "first")
    assert library.find(path.name, "first").path == path
    with pytest.raises(Refusal, match="there is no file"):
        library.find(path.name, "second")


def test_without_a_folder_there_are_no_paths(folder: Path) -> None:
    settings = Settings(workspace=folder / "work3")
    library = Library(settings, Uploads(settings))
    assert library.list() == []
    with pytest.raises(Refusal, match="no folder"):
        library.find(str(folder / "videos" / "sub" / "inside.mp4"), "")
