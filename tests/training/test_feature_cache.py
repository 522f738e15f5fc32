"""Videos encoded once before training: the same numbers, reused, continued and made anew as is due."""

import dataclasses
import io
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from pvchat_jax import train
from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.data.pipeline import VideoPass, read_clips
from pvchat_jax.data.records import load_records
from pvchat_jax.errors import UserError
from pvchat_jax.models.int8 import quantise
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training import feature_cache
from pvchat_jax.training.feature_cache import cache_features, check_cacheable, describe_features, feature_file
from tests.training.stand_in import StandIn, make_config
from tests.training.stand_in_run import OVERRIDES, params_of, stand_in_model, write_records

ONE, FOUR = make_mesh(MeshConfig(data=1), jax.devices()[:1]), make_mesh(MeshConfig(data=2, fsdp=2), jax.devices()[:4])
NUM_VIDEOS, DRAWS = 6, 2


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records"), NUM_VIDEOS)


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

    def read(data, record, video_pass):
        names.append(Path(record.video).name)
        return read_clips(data, record, video_pass)

    monkeypatch.setattr(feature_cache, "read_clips", read)
    monkeypatch.setattr(feature_cache, "VIDEOS_PER_BATCH", 4)
    monkeypatch.setattr(feature_cache, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(feature_cache, "BATCHES_READ_AHEAD", 1)
    return names


def cache(config: TrainConfig, mesh: jax.sharding.Mesh = ONE, seed: int = 0) -> str:
    """Encodes what is missing and returns what was said."""
    shown = io.StringIO()
    records = load_records(Path(config.data.train), config.data.subject)
    cache_features(config, StandIn(), params_of(config, mesh, seed), records, mesh, Console(file=shown, width=300))
    return shown.getvalue()


def stored(config: TrainConfig) -> np.ndarray:
    return np.load(feature_file(config))


def manifest(config: TrainConfig) -> Path:
    return feature_file(config).with_name("manifest.json")


@pytest.mark.parametrize("mesh", [ONE, FOUR], ids=["one device", "four devices"])
def test_every_row_is_the_encoded_video_of_its_draw(config: TrainConfig, decoded: list[str], mesh: jax.sharding.Mesh) -> None:
    shown = cache(config, mesh)
    assert f"encoded {NUM_VIDEOS * DRAWS}/{NUM_VIDEOS * DRAWS} videos" in shown and "videos/s" in shown
    features = stored(config)
    assert features.dtype == np.float16 and len(features) == NUM_VIDEOS * DRAWS
    records = load_records(Path(config.data.train), config.data.subject)
    passes = [VideoPass(video, draw) for video in range(NUM_VIDEOS) for draw in range(DRAWS)]
    clips = np.stack([read_clips(config.data, records[element.record], element) for element in passes])
    expected = StandIn().apply({"params": params_of(config, ONE, 0)}, clips, method="encode_video")
    np.testing.assert_allclose(features, expected, atol=1e-3)
    assert np.ptp(features, axis=0).max() > 0.02, "rows differ by more than the tolerance"


def test_what_is_there_is_used_again(config: TrainConfig, decoded: list[str]) -> None:
    cache(config)
    before = stored(config)
    decoded.clear()
    assert "features of 12 of 12" in cache(config)
    assert decoded == []
    np.testing.assert_array_equal(stored(config), before)


def test_features_of_an_encoder_in_int8_are_other_features(config: TrainConfig) -> None:
    records = load_records(Path(config.data.train), config.data.subject)
    params = params_of(config, ONE, 0)
    described = [describe_features(config, params, records)["vision_parameters"]]
    blocks = params["vision_encoder"]["lower_blocks"]
    for factor in (1, 2):  # these two differ in their scales alone
        blocks["kernel"] = quantise(factor * params_of(config, ONE, 0)["vision_encoder"]["lower_blocks"]["kernel"])
        described.append(describe_features(config, params, records)["vision_parameters"])
    assert len(set(described)) == 3


def test_an_interrupted_run_goes_on_where_it_stopped(config: TrainConfig, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache(config)
    whole = stored(config)
    for path in manifest(config).parent.iterdir():
        path.unlink()

    def stop_at_third_batch(batch, mesh, put=feature_cache.put_batch):
        if len(decoded) > 8:
            raise KeyboardInterrupt
        return put(batch, mesh)

    decoded.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(feature_cache, "put_batch", stop_at_third_batch)
        cache(config)
    rows_done = json.loads(manifest(config).read_text())["rows_done"]
    assert 0 < rows_done < len(whole)
    decoded.clear()
    assert f"features of {rows_done} of 12" in cache(config)
    assert len(decoded) == len(whole) - rows_done
    np.testing.assert_array_equal(stored(config), whole)


def test_rows_that_the_manifest_does_not_count_are_written_again(config: TrainConfig, decoded: list[str]) -> None:
    cache(config)
    whole = stored(config)
    content = json.loads(manifest(config).read_text())
    manifest(config).write_text(json.dumps({**content, "rows_done": 5}))
    rows = np.load(feature_file(config), mmap_mode="r+")
    rows[5:] = 7.0  # whatever a power cut left there
    rows.flush()
    decoded.clear()
    cache(config)
    assert len(decoded) == 7
    np.testing.assert_array_equal(stored(config), whole)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("num_frames", {"num_frames": 3}),
        ("frames_seed", {"seed": 5}),
        ("draws_per_video", {"feature_draws": 1}),
        ("videos", {}),
        ("vision_parameters", {}),
        ("features.npy", {}),
    ],
)
def test_features_of_something_else_are_made_anew(
    config: TrainConfig, decoded: list[str], videos: Path, tmp_path: Path, reason: str, changes: dict[str, int]
) -> None:
    records = videos.parent
    if reason == "videos":  # other contents under the same name, of the same size and time
        records = shutil.copytree(videos.parent, tmp_path / "records")
        changes = {"train": str(records / videos.name)}
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
    cache(config)
    decoded.clear()
    if reason == "videos":
        swap_contents(records / "0.mp4", records / "1.mp4")
    if reason == "features.npy":
        os.truncate(feature_file(config), 200)
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
    assert f"do not fit this run ({reason}) and are made anew" in cache(other, seed=int(reason == "vision_parameters"))
    assert len(decoded) == NUM_VIDEOS * other.data.draws_per_video == len(stored(other))


def swap_contents(first: Path, second: Path) -> None:
    """Both keep the time at which they were written."""
    contents = [first.read_bytes(), second.read_bytes()]
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (first, second)]
    for path, content, time in zip((first, second), reversed(contents), times, strict=True):
        path.write_bytes(content)
        os.utime(path, ns=time)


def test_videos_that_moved_keep_their_features(config: TrainConfig, decoded: list[str], videos: Path, tmp_path: Path) -> None:
    cache(config)
    decoded.clear()
    moved = shutil.copytree(videos.parent, tmp_path / "elsewhere", copy_function=shutil.copyfile) / videos.name
    assert "features of 12 of 12" in cache(dataclasses.replace(config, data=dataclasses.replace(config.data, train=str(moved))))
    assert decoded == []


def test_features_beyond_the_cap_are_refused_before_anything_is_decoded(config: TrainConfig, decoded: list[str]) -> None:
    capped = dataclasses.replace(config, data=dataclasses.replace(config.data, features_max_gb=1e-9))
    with pytest.raises(UserError, match=r"features of 12 draws of frames need .* GB in .*features and data\.features_max_gb allows 1e-09"):
        cache(capped)
    assert decoded == [] and not feature_file(capped).exists()


def test_a_disk_that_is_too_small_is_named_before_anything_is_decoded(
    config: TrainConfig, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = feature_cache.shutil.disk_usage(".")
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(UserError, match=r"features of 12 draws of frames need .* GB in .*features, .* lower data\.feature_draws"):
        cache(config)
    assert decoded == []


@pytest.mark.parametrize("group", ["vision_upper", "base"])
def test_an_encoder_that_trains_is_refused(config: TrainConfig, group: str) -> None:
    check_cacheable(config)
    training = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, **{group: 1e-3}))
    with pytest.raises(UserError, match=rf"optimizer\.{group} would train it; set --config\.optimizer\.{group}=0"):
        check_cacheable(training)
    check_cacheable(dataclasses.replace(training, data=dataclasses.replace(training.data, cache_features=False)))


def test_a_process_that_does_not_see_the_file_says_so(config: TrainConfig, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "SEEN_WITHIN_SECONDS", 0.0)
    monkeypatch.setattr(feature_cache, "_read_manifest", lambda path: {})
    with pytest.raises(UserError, match=r"process 0 does not see the features .*; set data\.features_dir to a folder that all hosts share"):
        cache(config)


def test_a_run_on_stored_features_learns_what_one_on_videos_learns(videos: Path, tmp_path: Path) -> None:
    settings = (
        *OVERRIDES,
        f"--config.data.train={videos}",
        "--config.data.batch_size=2",
        "--config.data.num_frames=2",
        "--config.data.feature_draws=2",
        "--config.mesh.data=1",
        "--config.log_every=1",
        "--config.num_steps=6",
        "--config.optimizer.warmup_steps=2",
        "--config.optimizer.vision_upper=0",
        "--config.optimizer.base=0",
    )
    losses = {}
    for cached in (False, True):
        output = tmp_path / str(cached)
        given = ["--config=configs/stage1.py:tiny", *settings, f"--config.data.cache_features={cached}", f"--config.output_dir={output}"]
        with stand_in_model():
            train.run(parse_command_line(given, description=""))
        losses[cached] = [json.loads(line)["loss"] for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert len(set(losses[False])) == 6
    assert losses[True] != losses[False]  # rounding to float16 shows, so they were used
    np.testing.assert_allclose(losses[True], losses[False], rtol=2e-3)
