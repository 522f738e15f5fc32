"""The segmenter of drawn people: what each pixel of a picture shows, learnt from drawings whose outlines are known exactly."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict
from safetensors.numpy import save

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.files import write_atomically
from pvchat_jax.models.part_segmenter import PartSegmenter
from pvchat_jax.pretraining.vision import apply_gradients
from pvchat_jax.training.partition import Params
from pvchat_jax.training.state import TrainState
from pvchat_jax.world.figure import PARTS
from pvchat_jax.world.plan import plan_base_video
from pvchat_jax.world.render import SIZE, render_frames, render_parts
from pvchat_jax.world.staging import NUM_FRAMES

SEGMENTER_FILE, SCORES_FILE = "segmenter.safetensors", "segmenter.json"
CLASSES = ("scene", *PARTS)
NUM_TEST_PICTURES = 512
_FRAMES_PER_VIDEO = 4  # as drawing the scene takes longest
_TEST_SEED_OFFSET = 1
_NOISE = 3.0  # standard deviation, in place of what a codec does

Batch = Mapping[str, np.ndarray]


def part_pictures(rng: np.random.Generator, *, seed: int, number: int) -> dict[str, np.ndarray]:
    """Frames of base videos, a few of each: `pixels`, uint8[B, 128, 128, 3], and `parts`, numbers of `CLASSES`, int32[B, 128, 128]."""
    pixels, parts = [], []
    for index in rng.integers(2**31, size=-(-number // _FRAMES_PER_VIDEO)):
        plan, frames = plan_base_video(seed, int(index)), rng.choice(NUM_FRAMES, _FRAMES_PER_VIDEO, replace=False).tolist()
        pixels.append(render_frames(plan, frames=frames))
        parts.append(whose_ever(render_parts(plan, frames=frames)))
    return {"pixels": np.concatenate(pixels)[:number], "parts": np.concatenate(parts)[:number]}


def whose_ever(parts: np.ndarray) -> np.ndarray:
    """Parts of a bystander as parts of anybody."""
    return np.where(parts > len(PARTS), parts - len(PARTS), parts).astype(np.int32)


def init_segmenter(seed: int) -> Params:
    """The segmenter's parameters as the seed gives them."""
    return PartSegmenter(len(CLASSES)).init(jax.random.key(seed), jnp.zeros((1, SIZE, SIZE, 3), jnp.uint8))["params"]


def parts_loss(params: Params, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean cross-entropy over pixels, and the share of right ones."""
    noisy = batch["pixels"] + _NOISE * jax.random.normal(key, batch["pixels"].shape)
    logits = PartSegmenter(len(CLASSES)).apply({"params": params}, jnp.clip(noisy, 0, 255))
    # Not with integer labels, whose gradient scatters into an array of all pixels.
    loss = jnp.mean(optax.softmax_cross_entropy(logits, jax.nn.one_hot(batch["parts"], len(CLASSES))))
    return loss, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch["parts"])}


def parts_step(
    state: TrainState, batch: Batch, *, optimizer: optax.GradientTransformation, config: TrainConfig
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, as a pure function."""
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    (loss, accuracy), gradients = jax.value_and_grad(parts_loss, has_aux=True)(state.trainable, batch, key)
    return apply_gradients(state, loss, gradients, accuracy, optimizer=optimizer, config=config)


def score_parts(params: Params, config: TrainConfig) -> dict[str, float]:
    """Intersection over union of each of `PARTS` in pictures of other videos than those of training."""
    look = jax.jit(lambda pixels: jnp.argmax(PartSegmenter(len(CLASSES)).apply({"params": params}, pixels), -1))
    both, either = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    rng = np.random.default_rng(config.data.seed)
    size = config.data.batch_size
    for _ in range(-(-NUM_TEST_PICTURES // size)):
        batch = part_pictures(rng, seed=config.data.seed + _TEST_SEED_OFFSET, number=size)
        found = np.asarray(look(batch["pixels"]))
        for number in range(len(CLASSES)):
            mine, true = found == number, batch["parts"] == number
            both[number] += (mine & true).sum()
            either[number] += (mine | true).sum()
    return dict(zip(PARTS, (both / np.maximum(either, 1))[1:].tolist(), strict=True))


def write_segmenter(directory: Path, params: Params, config: TrainConfig, scores: Mapping[str, float], minutes: float) -> Path:
    """Writes the parameters as float16, and beside them how they were made and how good they are."""
    tensors = {name: np.asarray(leaf, np.float16) for name, leaf in flatten_dict(params, sep="/").items()}
    path = directory / SEGMENTER_FILE
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata={"format": "pvchat_jax"}))
    made = {"steps": config.num_steps, "pictures_per_step": config.data.batch_size, "minutes": round(minutes, 1)}
    card = made | {"intersection_over_union": {name: round(value, 4) for name, value in scores.items()}}
    write_atomically(directory / SCORES_FILE, json.dumps(card, indent=1) + "\n")
    return path


def make_batches(config: TrainConfig) -> functools.partial[dict[str, np.ndarray]]:
    """What draws a batch from a random generator."""
    return functools.partial(part_pictures, seed=config.data.seed, number=config.data.batch_size)
