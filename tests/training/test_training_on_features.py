"""Training on stored features learns what training on the videos does."""

import dataclasses
import functools
import io
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from pvchat_jax import train
from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.config.schema import DataConfig, MeshConfig, OptimizerConfig, TrainConfig
from pvchat_jax.data.pipeline import read_clips
from pvchat_jax.data.record_files import load_records
from pvchat_jax.models.config import TINY
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from pvchat_jax.objectives.spr import initial_spr_state
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.feature_cache import stored_features
from pvchat_jax.training.partition import split_params, trainable_groups
from pvchat_jax.training.step import dropout_stream, whole_batch_gradients
from tests.random_params import random_params
from tests.training.stand_in_run import OVERRIDES, stand_in_model, write_records

NUM_VIDEOS = 6


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("records"), NUM_VIDEOS)


@pytest.mark.parametrize(("vision_upper", "tolerance"), [(0, 2e-3), (1e-3, 1e-5)])  # float16, and nothing but another order of sums
def test_a_run_on_stored_features_learns_what_one_on_videos_learns(
    videos: Path, tmp_path: Path, vision_upper: float, tolerance: float
) -> None:
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
        f"--config.optimizer.vision_upper={vision_upper}",
        "--config.optimizer.base=0",
    )
    losses = {}
    for cached in (False, True):
        output = tmp_path / str(cached)
        given = ["--config=configs/stage1.py:tiny", *settings, f"--config.data.cache_features={cached}", f"--config.output_dir={output}"]
        with stand_in_model():
            train.run(parse_command_line(given, description=""))
        losses[cached] = [json.loads(line)["loss"] for line in (output / "metrics.jsonl").read_text().splitlines()]
        assert len(list(output.glob("features/*/*.features"))) == 2 * NUM_VIDEOS * cached
    assert len(set(losses[False])) == 6
    np.testing.assert_allclose(losses[True], losses[False], rtol=tolerance)


@pytest.mark.slow
def test_the_real_upper_half_has_the_same_loss_and_gradients_on_stored_features(videos: Path, tmp_path: Path) -> None:
    language_model = dataclasses.replace(TINY.language_model, vocab_size=32, num_layers=1)
    qformer = dataclasses.replace(TINY.qformer, num_layers=1, remoh=dataclasses.replace(TINY.qformer.remoh, start_layer=0))
    vision = dataclasses.replace(TINY.vision, width=32, num_heads=2)
    sizes = dataclasses.replace(TINY, vision=vision, qformer=qformer, language_model=language_model)
    data = {"num_frames": 2, "random_frames": True, "cache_features": True, "image_size": vision.image_size, "tile_grid": (1, 1)}
    config = TrainConfig(
        output_dir=str(tmp_path),
        compute_dtype="float32",
        model=sizes,
        data=DataConfig(train=str(videos), batch_size=2, **data),
        optimizer=OptimizerConfig(vision_upper=1e-3, qformer=0.0, router=0.0, lora=0.0, name_row=0.0),
    )
    model = build_pvchat(sizes)
    params = jax.tree.map(jnp.asarray, random_params(lambda: {"params": init_boxed(model, sizes, jax.random.key(0))}))
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    records = load_records(Path(config.data.train), config.data.subject)[:2]
    with stored_features(config, model, params, records, mesh, Console(file=io.StringIO())) as stored:
        features = np.stack([stored.read(row) for row in range(2)])
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    spr = initial_spr_state(config.objective, len(sizes.qformer.routed_modules))
    length, visual = 26, sizes.qformer.num_visual_tokens
    ids = np.random.default_rng(0).integers(0, 32, (2, 2, length)).astype(np.int32)
    text = {
        "input_ids": ids,
        "attention_mask": np.ones(ids.shape, bool),
        "labels": ids,
        "video_mask": np.broadcast_to(np.arange(length) < visual, ids.shape),
        "answer_positions": np.broadcast_to(np.arange(visual, length - 1, dtype=np.int32), (2, 2, length - 1 - visual)),
    }
    evaluate = functools.partial(jax.jit(functools.partial(whole_batch_gradients, model=model, config=config)), trainable, frozen)
    gradients, outcome = evaluate({**text, "lower_features": features}, spr, dropout_stream(0))
    video = np.stack([read_clips(config.data, record.video, 0) for record in records])
    expected_gradients, expected = evaluate({**text, "video": video}, spr, dropout_stream(0))
    np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-6)
    assert "upper_blocks" in gradients["vision_encoder"] and "lower_blocks" not in gradients["vision_encoder"]
    for (path, one), other in zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(expected_gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(np.abs(other).max(), 1e-6), err_msg=jax.tree_util.keystr(path))
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients["vision_encoder"]))
    assert largest > 1e-6, "the upper half learns from stored features"
