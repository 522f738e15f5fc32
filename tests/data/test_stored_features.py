"""Files of features are read whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pvchat_jax.data.stored_features import StoredFeatures, file_size, write_features
from pvchat_jax.errors import UserError

SHAPE = (3, 5, 4)
FLOAT16 = np.dtype(np.float16)


def stored_in(folder: Path, *files: str, shape: tuple[int, ...] = SHAPE, dtype: np.dtype = FLOAT16) -> StoredFeatures:
    return StoredFeatures("features", folder, files, shape, dtype)


def values(seed: int, dtype: np.dtype = FLOAT16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_what_was_written_is_read(tmp_path: Path, dtype: type) -> None:
    dtype = np.dtype(dtype)
    for name, seed in (("a", 1), ("b", 2)):
        write_features(tmp_path / name, values(seed, dtype).swapaxes(0, 1).copy().swapaxes(0, 1))  # in another order in memory
    assert (tmp_path / "a").stat().st_size == file_size(SHAPE, dtype)
    stored = stored_in(tmp_path, "a", "b", "a", dtype=dtype)
    for row, seed in enumerate((1, 2, 1)):
        assert stored.read(row).dtype == dtype
        np.testing.assert_array_equal(stored.read(row), values(seed, dtype))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: os.truncate(path, 60), lambda path: os.truncate(path, 200), lambda path: os.truncate(path, 2)],
    ids=["one bit", "too short", "too long", "a rest"],
)
def test_a_damaged_file_is_refused_and_removed(tmp_path: Path, damage) -> None:
    write_features(tmp_path / "a", values(1))
    damage(tmp_path / "a")
    with pytest.raises(UserError, match=r"features .*/a were damaged and are removed; start the run again"):
        stored_in(tmp_path, "a").read(0)
    assert not (tmp_path / "a").exists()


def test_a_file_that_is_cut_short_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    write_features(tmp_path / "a", values(1))
    stored = stored_in(tmp_path, "a")
    stored.read(0)
    os.truncate(tmp_path / "a", 60)
    with pytest.raises(UserError, match="were damaged and are removed"):
        stored.read(0)


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_that_is_gone_or_empty_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=r"features .*/a cannot be read .*; start the run again"):
        stored_in(tmp_path, "a").read(0)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_features(tmp_path / "a", values(1))

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_features(tmp_path / "a", values(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    np.testing.assert_array_equal(stored_in(tmp_path, "a").read(0), values(1))


WRITER = """
import itertools, sys
from pathlib import Path
import numpy as np
from pvchat_jax.data.stored_features import write_features
for number in itertools.count():
    write_features(Path(sys.argv[1]) / str(number % 3), np.full((1, 512, 512), number % 3, np.float16))
    print(number, flush=True)
"""


def test_readers_meet_whole_files_while_two_processes_write_the_same_and_are_killed(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shape = (1, 512, 512)

    def read_all() -> None:
        for number in range(3):
            features = stored_in(tmp_path, str(number), shape=shape).read(0)
            assert (features == number).all()

    try:
        for writer in writers:
            while int(writer.stdout.readline()) < 3:
                pass
        for _ in range(20):
            read_all()
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
    read_all()
