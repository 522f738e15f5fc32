"""Writes that fail leave what was there."""

import os
from pathlib import Path

import pytest

from pvchat_jax.files import new_directory, write_atomically


@pytest.mark.parametrize("content", ["new", b"new"])
def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "folder" / "file"
    for earlier in ("old", content):
        write_atomically(path, earlier)
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_appears_when_it_is_complete_and_others_may_read_it(tmp_path: Path) -> None:
    with new_directory(tmp_path / "export") as directory:
        (directory / "private").write_text("x")
        (directory / "private").chmod(0o600)
        assert not (tmp_path / "export").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "export"]
    may_read = (tmp_path / "export").stat().st_mode & 0o444
    assert (tmp_path / "export" / "private").stat().st_mode & 0o444 == may_read


def test_a_directory_that_could_not_be_filled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "export") as directory:
        (directory / "half").write_text("x")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / "export").mkdir()
    with pytest.raises(FileExistsError), new_directory(tmp_path / "export"):
        pass
