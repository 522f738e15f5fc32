"""What has to go when space is needed: features that nobody uses, the least recently used first."""

import os
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.data.stored_features import file_size, write_features
from pvchat_jax.errors import UserError
from pvchat_jax.training import feature_store
from pvchat_jax.training.feature_store import FeatureStore

SHAPE, DTYPE = (1, 2, 4), np.dtype(np.float16)
SIZE = file_size(SHAPE, DTYPE)


def store_in(root: Path, kind: str) -> FeatureStore:
    return FeatureStore(root, {"kind": kind}, SIZE)


def fill(store: FeatureStore, *names: str, used_at: float) -> list[str]:
    """Writes features of these names, last used at a time."""
    names = [f"{name}.features" for name in names]
    store.make_room(names, 1, print)
    with store.in_use():
        for name in names:
            write_features(store.folder / name, np.zeros(SHAPE, DTYPE))
            os.utime(store.folder / name, (used_at, used_at))
    return names


def make_room(store: FeatureStore, count: int, total: float) -> list[str]:
    """For `count` new files of `store` where `total` files are allowed; what was said."""
    said: list[str] = []
    store.make_room([f"new{number}.features" for number in range(count)], total * SIZE / 1e9, said.append)
    return said


def test_the_least_recently_used_go_first_and_no_more_than_needed(tmp_path: Path) -> None:
    first, second = store_in(tmp_path, "first"), store_in(tmp_path, "second")
    names = fill(first, "a", "b", used_at=2000.0) + fill(first, "c", used_at=1000.0)
    others = fill(second, "d", used_at=1500.0)
    first.mark_used(["a.features"])
    assert make_room(store_in(tmp_path, "third"), 1, 5) == []
    (said,) = make_room(store_in(tmp_path, "third"), 2, 4)
    assert said.startswith("removed ") and str(tmp_path) in said
    assert first.missing(names) == ["c.features"] and second.missing(others) == ["d.features"]
    make_room(store_in(tmp_path, "third"), 3, 4)
    assert first.missing(names) == ["b.features", "c.features"]


def test_what_the_run_itself_needs_stays(tmp_path: Path) -> None:
    store = store_in(tmp_path, "first")
    old, recent = fill(store, "a", used_at=1.0), fill(store, "b", used_at=1000.0)
    store.make_room([*old, "new.features"], 2 * SIZE / 1e9, print)
    assert store.missing(old) == [] and store.missing(recent) == recent


def test_what_another_run_uses_stays(tmp_path: Path) -> None:
    used, idle = store_in(tmp_path, "used"), store_in(tmp_path, "idle")
    needed, other = fill(used, "a", "b", used_at=1.0), fill(idle, "c", used_at=1000.0)
    with used.in_use():
        make_room(store_in(tmp_path, "third"), 1, 3)
        assert used.missing(needed) == [] and idle.missing(other) == other
        with pytest.raises(
            UserError, match=r"features there may be in use and data\.features_max_gb allows .*; raise it, or choose another"
        ):
            make_room(store_in(tmp_path, "third"), 2, 3)
    make_room(store_in(tmp_path, "third"), 2, 3)
    assert len(used.missing(needed)) == 1


def test_where_locks_do_not_work_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    store = store_in(tmp_path, "first")
    names = fill(store, "a", used_at=1.0)
    monkeypatch.setattr(feature_store.fcntl, "flock", refuse)
    with pytest.raises(UserError, match="may be in use"):
        make_room(store_in(tmp_path, "third"), 1, 1)
    assert store.missing(names) == []


def test_what_a_killed_process_left_takes_space_and_goes(tmp_path: Path) -> None:
    store = store_in(tmp_path, "first")
    names = fill(store, "a", used_at=1000.0)
    rest = store.folder / ".b.features.0123456789ab.tmp"
    rest.write_bytes(bytes(SIZE))
    os.utime(rest, (1.0, 1.0))
    make_room(store_in(tmp_path, "third"), 1, 2)
    assert not rest.exists() and store.missing(names) == []


def test_other_files_in_the_folder_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir(parents=True)
    foreign = [tmp_path / "x.features", tmp_path / "notes" / "y.features"]
    for path in foreign:
        path.write_bytes(bytes(10 * SIZE))
    make_room(store_in(tmp_path, "third"), 1, 1)
    assert all(path.exists() for path in foreign)


def test_too_little_disk_makes_room_before_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path, "first")
    names = fill(store, "a", "b", used_at=1.0)
    usage = feature_store.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: usage._replace(free=SIZE))
    make_room(store_in(tmp_path, "third"), 2, 100)
    assert len(store.missing(names)) == 1
    with pytest.raises(UserError, match=r"whose disk has .* left; free some, lower data\.feature_draws"):
        make_room(store_in(tmp_path, "third"), 3, 100)
    assert len(store.missing(names)) == 1, "nothing is removed in vain"


def test_a_finished_store_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path, "first")
    names = fill(store, "a", used_at=1.0)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(feature_store.os, "utime", refuse)
    monkeypatch.setattr(feature_store, "write_atomically", refuse)
    store.make_room(names, 1, print)
    with store.in_use():
        assert store.missing(names) == []
        store.mark_used(names)
