"""Writes that fail leave what was there."""

import os
from pathlib import Path

import pytest

from pvchat_jax.files import write_atomically


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
