"""The segmenter's training: its pictures, a step that learns, and the files it leaves."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from configs.base import tiny
from pvchat_jax.pretraining.parts import CLASSES, init_segmenter, make_batches, parts_loss, parts_step, score_parts, write_segmenter
from pvchat_jax.training.optimizer import make_optimizer
from pvchat_jax.training.state import TrainState
from pvchat_jax.training.weights import read_tensors
from pvchat_jax.world.figure import PARTS

PARTS_PHASE = tiny().parts
CONFIG = dataclasses.replace(
    PARTS_PHASE,
    num_steps=6,
    data=dataclasses.replace(PARTS_PHASE.data, batch_size=4),
    optimizer=dataclasses.replace(PARTS_PHASE.optimizer, warmup_steps=1),
)


def test_pictures_follow_from_the_random_generator_and_show_every_part_of_anybody() -> None:
    first, again, other = (make_batches(CONFIG)(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first["pixels"].shape == (4, 128, 128, 3) and first["parts"].shape == (4, 128, 128)
    assert all(np.array_equal(first[name], again[name]) and not np.array_equal(first[name], other[name]) for name in first)
    seen = np.unique(np.concatenate([make_batches(CONFIG)(np.random.default_rng(seed))["parts"] for seed in range(6)]))
    assert seen.tolist() == list(range(len(CLASSES)))


def test_a_few_steps_learn_something() -> None:
    optimizer = make_optimizer(CONFIG.optimizer, CONFIG.num_steps)
    params = init_segmenter(0)
    state = TrainState(step=np.int32(0), trainable=params, opt_state=optimizer.init(params), spr=())
    batch = make_batches(CONFIG)(np.random.default_rng(0))
    before, _ = parts_loss(params, batch, jax.random.key(1))
    step = jax.jit(lambda state, batch: parts_step(state, batch, optimizer=optimizer, config=CONFIG))
    for _ in range(CONFIG.num_steps):
        state, metrics = step(state, batch)
    after, _ = parts_loss(state.trainable, batch, jax.random.key(1))
    assert after < 0.9 * before and metrics["finite"] == 1 and int(state.step) == CONFIG.num_steps


def test_what_is_written_can_be_read_and_says_how_it_was_made(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pvchat_jax.pretraining.parts.NUM_TEST_PICTURES", 4)
    params = init_segmenter(0)
    scores = score_parts(params, CONFIG)
    assert tuple(scores) == PARTS and all(0 <= value <= 1 for value in scores.values())
    path = write_segmenter(tmp_path, params, CONFIG, scores, 1.23)
    read = read_tensors(tmp_path, ("",), path.name)
    jax.tree.map(lambda found, true: np.testing.assert_allclose(found, true, rtol=1e-3, atol=1e-6), read, jax.device_get(params))
    card = json.loads((tmp_path / "segmenter.json").read_text())
    assert card["steps"] == 6 and set(card["intersection_over_union"]) == set(PARTS)
