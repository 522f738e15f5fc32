"""The parts of the run that can be tried without training: batches of pictures, time and files."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from configs.base import tiny
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.pretraining.export import write_weights
from pvchat_jax.pretraining.frames import Pictures
from pvchat_jax.pretraining.run import choose_frames, picture_batch, training_minutes
from pvchat_jax.pretraining.truth import MAX_PEOPLE, PERSON_CLASSES, POSE_CLASSES, Labels
from pvchat_jax.pretraining.vision import apply_gradients, normalise
from pvchat_jax.training.state import TrainState

CONFIG = tiny()
NUM_VIDEOS, STORED = 5, 8


def numbered_pictures() -> Pictures:
    """Every pixel, box and point of a video says which video and frame it is of."""
    frame = np.arange(STORED)
    video = np.arange(NUM_VIDEOS)
    number = 10 * video[:, None] + frame  # [N, T]
    of_frames = np.broadcast_to(number[:, None, :, None], (NUM_VIDEOS, MAX_PEOPLE, STORED, 4)).astype(np.float32)
    return Pictures(
        pixels=np.broadcast_to(number[..., None, None, None], (NUM_VIDEOS, STORED, 2, 2, 3)).astype(np.uint8),
        labels=Labels(
            person=np.broadcast_to(video[:, None, None], (NUM_VIDEOS, MAX_PEOPLE, len(PERSON_CLASSES))).astype(np.int8),
            place=np.zeros((NUM_VIDEOS, MAX_PEOPLE), np.int8),
            scene=video.astype(np.int8),
            heads=of_frames,
            bodies=of_frames + 100,
            points=np.repeat(of_frames[..., None], 2, axis=-1),
            poses=np.repeat(of_frames, 3, axis=-1)[..., : len(POSE_CLASSES)].astype(np.int8),
        ),
    )


@pytest.mark.parametrize("num_frames", [1, 4])
def test_pictures_come_with_the_labels_of_their_frames(num_frames: int) -> None:
    config = dataclasses.replace(CONFIG.video, data=dataclasses.replace(CONFIG.video.data, num_frames=num_frames, batch_size=16))
    batch = picture_batch(np.random.default_rng(0), pictures=numbered_pictures(), num_videos=NUM_VIDEOS - 1, config=config)
    assert batch["pixels"].shape == (16, num_frames, 2, 2, 3)
    assert batch["heads"].shape == (16, MAX_PEOPLE, num_frames, 4)
    number = batch["pixels"][:, :, 0, 0, 0].astype(int)
    assert len(np.unique(number % 10)) > num_frames
    for person in range(MAX_PEOPLE):
        np.testing.assert_array_equal(batch["heads"][:, person, :, 0], number)
        np.testing.assert_array_equal(batch["bodies"][:, person, :, 0], number + 100)
        np.testing.assert_array_equal(batch["points"][:, person, :, 0, 0], number)
        np.testing.assert_array_equal(batch["poses"][:, person, :, 0], number)
    np.testing.assert_array_equal(batch["scene"], number[:, 0] // 10)
    np.testing.assert_array_equal(batch["person"][:, 0, 0], number[:, 0] // 10)
    assert batch["scene"].max() < NUM_VIDEOS - 1  # the last video is for validation


def test_a_clip_has_one_frame_of_each_part() -> None:
    frames = choose_frames(np.random.default_rng(0), 200, STORED, 4)
    assert frames.shape == (200, 4)
    assert (frames // 2 == np.arange(4)).all()
    assert set(frames.ravel().tolist()) == set(range(STORED))


def test_pixels_are_normalised_as_for_the_model() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    expected = preprocess_frames(pixels, 64, (1, 1))[0]
    np.testing.assert_allclose(normalise(jnp.asarray(pixels)), expected, atol=1e-5)


def test_an_update_moves_the_parameters_and_reports() -> None:
    optimizer = optax.sgd(0.5)
    params = {"readers": jnp.asarray([1.0, 2.0])}
    state = TrainState(step=jnp.int32(3), trainable=params, opt_state=optimizer.init(params), spr=())
    gradients = {"readers": jnp.asarray([3.0, 4.0])}
    after, metrics = apply_gradients(state, jnp.float32(7), gradients, {"accuracy/eyes": 1}, optimizer=optimizer, config=CONFIG.video)
    assert after.trainable["readers"].tolist() == [-0.5, 0.0]
    assert int(after.step) == 4
    assert metrics["grad_norm"] == pytest.approx(5)
    assert {name: float(metrics[name]) for name in ("loss", "finite", "accuracy/eyes")} == {"loss": 7, "finite": 1, "accuracy/eyes": 1}
    assert 0 < metrics["learning_rate"] < CONFIG.video.optimizer.base
    _, broken = apply_gradients(state, jnp.float32(jnp.nan), gradients, {}, optimizer=optimizer, config=CONFIG.video)
    assert broken["finite"] == 0


def test_minutes_leave_interruptions_out(tmp_path: Path) -> None:
    lines = [{"step": 1}, {"step": 61, "steps_per_second": 1.0}, {"step": 181, "steps_per_second": 2.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert training_minutes(dataclasses.replace(CONFIG.image, output_dir=str(tmp_path))) == pytest.approx(2)


def test_shipped_weights_are_small_and_have_no_slot_readers(tmp_path: Path) -> None:
    tree = {"kernel": jnp.ones((2, 3), jnp.float32)}
    path = write_weights(tmp_path / "export", {"readers": tree, "slot_readers": tree, "qformer": {"layer": tree}}, CONFIG)
    tensors = load_file(path)
    assert sorted(tensors) == ["qformer/layer/kernel", "readers/kernel", "slot_readers/kernel"]
    assert {tensor.dtype.name for tensor in tensors.values()} == {"float16"}
