"""Videos encoded once before training: the same numbers, reused, continued and made anew as is due."""

import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.data.pipeline import read_clips
from pvchat_jax.data.record_files import load_records, write_records
from pvchat_jax.errors import UserError
from pvchat_jax.models.int8 import quantise
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training import feature_cache
from pvchat_jax.training.feature_cache import check_cacheable, describe_features, features_folder, stored_features
from tests.data.video_files import write_video
from tests.training.stand_in import StandIn, make_config
from tests.training.stand_in_run import OVERRIDES, params_of
from tests.training.stand_in_run import write_records as write_videos

ONE, FOUR = make_mesh(MeshConfig(data=1), jax.devices()[:1]), make_mesh(MeshConfig(data=2, fsdp=2), jax.devices()[:4])
NUM_VIDEOS, DRAWS = 6, 2


class Cached(NamedTuple):
    """What a run was told and what it reads."""

    said: str
    rows: np.ndarray
    paths: list[Path]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("records"), NUM_VIDEOS)


@pytest.fixture
def config(videos: Path, tmp_path: Path) -> TrainConfig:
    config = make_config()
    data = {"train": str(videos), "num_frames": 2, "random_frames": True, "cache_features": True, "feature_draws": DRAWS}
    return dataclasses.replace(
        config, compute_dtype="float32", output_dir=str(tmp_path / "run"), data=dataclasses.replace(config.data, **data)
    )


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos decoded so far."""
    names: list[str] = []

    def read(data, video, number):
        names.append(Path(video).name)
        return read_clips(data, video, number)

    monkeypatch.setattr(feature_cache, "read_clips", read)
    monkeypatch.setattr(feature_cache, "VIDEOS_PER_BATCH", 4)
    monkeypatch.setattr(feature_cache, "BATCHES_READ_AHEAD", 1)
    return names


def cache(config: TrainConfig, mesh: jax.sharding.Mesh = ONE, seed: int = 0, params: Any = None) -> Cached:
    """Encodes what is missing, and reads everything."""
    shown = io.StringIO()
    records = load_records(Path(config.data.train), config.data.subject)
    params = params_of(config, mesh, seed) if params is None else params
    with stored_features(config, StandIn(), params, records, mesh, Console(file=shown, width=300)) as stored:
        rows = np.stack([stored.read(row) for row in range(len(stored.files))])
    return Cached(shown.getvalue(), rows, [stored.folder / name for name in stored.files])


def changed(config: TrainConfig, part: str, **settings: Any) -> TrainConfig:
    return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **settings)})


def copied(config: TrainConfig, folder: Path) -> TrainConfig:
    """The run on a copy of its videos, which may be changed."""
    train = Path(config.data.train)
    return changed(config, "data", train=str(shutil.copytree(train.parent, folder, copy_function=shutil.copyfile) / train.name))


@pytest.mark.parametrize("mesh", [ONE, FOUR], ids=["one device", "four devices"])
@pytest.mark.parametrize(("vision_upper", "method", "dtype"), [(0.0, "encode_video", "float16"), (1e-3, "encode_lower", "float32")])
def test_every_row_is_the_encoded_video_of_its_draw(
    config: TrainConfig, decoded: list[str], mesh: jax.sharding.Mesh, vision_upper: float, method: str, dtype: str
) -> None:
    features = cache(changed(config, "optimizer", vision_upper=vision_upper), mesh)
    assert f"encoded {NUM_VIDEOS * DRAWS}/{NUM_VIDEOS * DRAWS} videos" in features.said and "videos/s" in features.said
    assert features.rows.dtype == dtype and len(features.rows) == NUM_VIDEOS * DRAWS
    records = load_records(Path(config.data.train), config.data.subject)
    clips = np.stack([read_clips(config.data, record.video, draw) for record in records for draw in range(DRAWS)])
    expected = StandIn().apply({"params": params_of(config, ONE, 0)}, jnp.asarray(clips), method=method)
    np.testing.assert_allclose(features.rows, expected, atol=1e-3 if dtype == "float16" else 1e-6)
    assert np.ptp(features.rows, axis=0).max() > 0.02, "rows differ by more than the tolerance"


def test_what_is_there_is_used_again(config: TrainConfig, decoded: list[str]) -> None:
    before = cache(config)
    decoded.clear()
    again = cache(config)
    assert "features of 12 of 12" in again.said and decoded == []
    np.testing.assert_array_equal(again.rows, before.rows)


def test_a_video_more_is_the_only_one_that_is_encoded(config: TrainConfig, decoded: list[str], tmp_path: Path) -> None:
    config = copied(config, tmp_path / "records")
    before = cache(config)
    records = load_records(Path(config.data.train), config.data.subject)
    new = write_video(tmp_path / "records" / "new.mp4", 20, width=32, height=32)
    write_records(Path(config.data.train), [dataclasses.replace(records[0], video=str(new)), *records])
    decoded.clear()
    after = cache(config)
    assert decoded == ["new.mp4"] * DRAWS and "features of 12 of 14" in after.said
    np.testing.assert_array_equal(after.rows[DRAWS:], before.rows)


def test_runs_share_the_videos_that_they_have_in_common(config: TrainConfig, decoded: list[str], tmp_path: Path) -> None:
    shared = changed(config, "data", features_dir=str(tmp_path / "shared"))
    cache(shared)
    other = copied(shared, tmp_path / "records")
    records = load_records(Path(other.data.train), other.data.subject)
    write_records(Path(other.data.train), records[3:5])
    decoded.clear()
    cache(dataclasses.replace(other, output_dir=str(tmp_path / "other")))
    assert decoded == []
    cache(changed(other, "data", feature_draws=DRAWS + 1))
    assert sorted(decoded) == ["3.mp4", "4.mp4"], "a draw more is a draw of each"


def test_videos_of_the_same_content_are_encoded_once(config: TrainConfig, decoded: list[str], tmp_path: Path) -> None:
    config = copied(config, tmp_path / "records")
    shutil.copyfile(tmp_path / "records" / "1.mp4", tmp_path / "records" / "0.mp4")
    features = cache(config)
    assert len(decoded) == (NUM_VIDEOS - 1) * DRAWS
    np.testing.assert_array_equal(features.rows[:DRAWS], features.rows[DRAWS : 2 * DRAWS])


def test_the_key_has_the_parameters_that_encode_and_no_others(config: TrainConfig) -> None:
    def changes_key(config: TrainConfig, path: tuple[str, ...]) -> bool:
        digests = []
        for shift in (0, 1):
            params = {**params_of(config, ONE, 0), "vision_norm": {"scale": jnp.ones(3)}}
            node = params
            for name in path[:-1]:
                node = node[name]
            node[path[-1]] = jnp.add(node[path[-1]], shift)
            digests.append(describe_features(config, params)["vision_parameters"])
        return digests[0] != digests[1]

    lower_alone = changed(config, "optimizer", vision_upper=1e-3)
    for path, in_whole, in_lower in (
        (("vision_encoder", "lower_blocks", "kernel"), True, True),
        (("vision_encoder", "upper_blocks", "kernel"), True, False),
        (("vision_norm", "scale"), True, False),
        (("project_up", "kernel"), False, False),
    ):
        assert (changes_key(config, path), changes_key(lower_alone, path)) == (in_whole, in_lower), path


def test_features_of_an_encoder_in_int8_are_other_features(config: TrainConfig) -> None:
    params = params_of(config, ONE, 0)
    described = [describe_features(config, params)["vision_parameters"]]
    blocks = params["vision_encoder"]["lower_blocks"]
    for factor in (1, 2):  # these two differ in their scales alone
        blocks["kernel"] = quantise(factor * params_of(config, ONE, 0)["vision_encoder"]["lower_blocks"]["kernel"])
        described.append(describe_features(config, params)["vision_parameters"])
    assert len(set(described)) == 3


def test_an_interrupted_run_goes_on_where_it_stopped(config: TrainConfig, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cache(config)
    shutil.rmtree(features_folder(config))

    batches = iter((1, 2))  # counted here, since decoding runs ahead

    def stop_at_third_batch(batch, mesh, put=feature_cache.put_batch):
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return put(batch, mesh)

    decoded.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(feature_cache, "put_batch", stop_at_third_batch)
        cache(config)
    decoded.clear()
    again = cache(config)
    assert "features of 8 of 12" in again.said and len(decoded) == 4
    np.testing.assert_array_equal(again.rows, whole.rows)


KILLED = """
import os, signal, sys
from pathlib import Path
from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.training import feature_cache
from tests.training.test_feature_cache import cache
write = feature_cache.write_features
def write_and_die(path, features):
    write(path, features)
    if len(list(path.parent.glob("*.features"))) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
feature_cache.write_features = write_and_die
cache(parse_command_line(sys.argv[1:], description=""))
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_stopped(videos: Path, decoded: list[str], tmp_path: Path) -> None:
    def given(output: str) -> list[str]:
        changed = [f"--config.data.train={videos}", "--config.data.num_frames=2", f"--config.output_dir={tmp_path / output}"]
        return ["--config=configs/stage1.py:tiny", *OVERRIDES, *changed, "--config.data.cache_features=True"]

    killed = subprocess.run([sys.executable, "-c", KILLED, *given("killed")], check=False)
    assert killed.returncode == -signal.SIGKILL
    again = cache(parse_command_line(given("killed"), description=""))
    assert len(decoded) == NUM_VIDEOS - 5 and f"features of 5 of {NUM_VIDEOS}" in again.said
    np.testing.assert_array_equal(again.rows, cache(parse_command_line(given("whole"), description="")).rows)


@pytest.mark.parametrize(
    ("settings", "seed"),
    [({"num_frames": 3}, 0), ({"seed": 5}, 0), ({"random_frames": False}, 0), ({"tile_grid": (1, 1)}, 0), ({}, 1)],
    ids=["frames", "draws", "fixed frames", "tiles", "parameters"],
)
def test_features_of_something_else_are_not_used(config: TrainConfig, decoded: list[str], settings: dict[str, Any], seed: int) -> None:
    before = cache(config)
    decoded.clear()
    other = changed(config, "data", **settings)
    after = cache(other, seed=seed)
    assert len(decoded) == NUM_VIDEOS * other.data.draws_per_video
    assert not set(before.paths) & set(after.paths)


def test_features_of_the_whole_encoder_and_of_its_lower_half_do_not_mix(config: TrainConfig, decoded: list[str]) -> None:
    before = cache(config)
    after = cache(changed(config, "optimizer", vision_upper=1e-3))
    assert len(decoded) == 2 * NUM_VIDEOS * DRAWS and not set(before.paths) & set(after.paths)


def test_other_contents_under_the_same_name_are_noticed(config: TrainConfig, decoded: list[str], tmp_path: Path) -> None:
    config = copied(config, tmp_path / "records")
    before = cache(config)
    first, second = (tmp_path / "records" / name for name in ("0.mp4", "1.mp4"))
    contents, times = (first.read_bytes(), second.read_bytes()), first.stat()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    decoded.clear()
    swapped = cache(config)
    assert decoded == []
    np.testing.assert_array_equal(swapped.rows[: 2 * DRAWS], np.roll(before.rows[: 2 * DRAWS], DRAWS, axis=0))
    write_video(first, 9, width=32, height=32)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = cache(config)
    assert decoded == ["0.mp4"] * DRAWS
    assert np.abs(after.rows[:DRAWS] - swapped.rows[:DRAWS]).max() > 0.01
    np.testing.assert_array_equal(after.rows[DRAWS:], swapped.rows[DRAWS:])


def test_a_file_that_is_cut_short_is_made_anew_and_no_other(config: TrainConfig, decoded: list[str]) -> None:
    whole = cache(config)
    os.truncate(whole.paths[4], 40)
    decoded.clear()
    again = cache(config)
    assert decoded == ["2.mp4"]
    np.testing.assert_array_equal(again.rows, whole.rows)


def test_damage_within_a_file_ends_the_run_and_the_next_one_mends_it(config: TrainConfig, decoded: list[str]) -> None:
    whole = cache(config)
    content = bytearray(whole.paths[4].read_bytes())
    content[3] ^= 1
    whole.paths[4].write_bytes(content)
    with pytest.raises(UserError, match="damaged and are removed; start the run again"):
        cache(config)
    decoded.clear()
    again = cache(config)
    assert decoded == ["2.mp4"]
    np.testing.assert_array_equal(again.rows, whole.rows)


def test_videos_that_moved_keep_their_features(config: TrainConfig, decoded: list[str], tmp_path: Path) -> None:
    cache(config)
    decoded.clear()
    assert "features of 12 of 12" in cache(copied(config, tmp_path / "elsewhere")).said
    assert decoded == []


def test_features_beyond_the_cap_are_refused_before_anything_is_decoded(config: TrainConfig, decoded: list[str]) -> None:
    capped = changed(config, "data", features_max_gb=1e-9)
    with pytest.raises(UserError, match=r"features of 12 draws of frames need .* GB in .*features and data\.features_max_gb allows 1e-09"):
        cache(capped)
    assert decoded == [] and not features_folder(capped).exists()


def test_beyond_the_cap_the_features_of_the_run_used_least_recently_go(config: TrainConfig, decoded: list[str]) -> None:
    first, second = cache(config, seed=0), cache(config, seed=1)
    for age, path in enumerate([*second.paths, *first.paths]):  # before anybody's clock could tell them apart
        os.utime(path, (age, age))
    cache(config, seed=1)
    size = first.paths[0].stat().st_size
    third = cache(changed(config, "data", features_max_gb=2 * len(first.paths) * size / 1e9), seed=2)
    assert "to make room" in third.said
    assert not any(path.exists() for path in first.paths)
    assert all(path.exists() for path in [*second.paths, *third.paths])


def test_while_a_run_reads_its_features_another_does_not_remove_them(config: TrainConfig, decoded: list[str]) -> None:
    records = load_records(Path(config.data.train), config.data.subject)
    with stored_features(config, StandIn(), params_of(config, ONE, 0), records, ONE, Console(file=io.StringIO())) as stored:
        allowed = len(stored.files) * (stored.folder / stored.files[0]).stat().st_size / 1e9
        other = changed(config, "data", features_max_gb=allowed)
        with pytest.raises(UserError, match="may be in use"):
            cache(other, seed=1)
        stored.read(0)
    cache(other, seed=1)
    assert not (stored.folder / stored.files[0]).exists()


@pytest.mark.parametrize("base", [0.0, 1e-3])
def test_an_encoder_whose_lower_half_trains_is_refused(config: TrainConfig, base: float) -> None:
    check_cacheable(changed(config, "optimizer", vision_upper=1e-3))
    training = changed(config, "optimizer", vision_upper=base, base=1e-3)
    with pytest.raises(UserError, match=r"optimizer\.base would train it; set --config\.optimizer\.base=0"):
        check_cacheable(training)
    check_cacheable(changed(training, "data", cache_features=False))


def test_a_process_that_does_not_see_the_files_says_so(config: TrainConfig, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "SEEN_WITHIN_SECONDS", 0.0)
    monkeypatch.setattr(feature_cache, "write_features", lambda path, features: None)
    with pytest.raises(UserError, match=r"process 0 does not see 12 files .*; set data\.features_dir to a folder that all hosts share"):
        cache(config)
