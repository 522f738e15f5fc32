"""No look-alike may differ only in what nobody could see: dense probes on the base's features read every attribute of a person.

The base's own linear readers, one word from each token, do for all attributes but one. How somebody walks is seen in the order of
frames, so gait has a probe that looks at them: pooled per frame, then mean, spread and maximum over time.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import stage2
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.pretraining.readers import read, read_person
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.pretraining.vision import encode
from pvchat_jax.training.weights import read_tensors, weights_directory
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.plan import VideoPlan, plan_base_video, plan_video
from pvchat_jax.world.render import render_frames
from pvchat_jax.world.staging import NUM_FRAMES

LEAST = 0.98
NUM_VIDEOS = 1000
NUM_WALKERS, NUM_OTHERS = 2000, 1000  # on whom the probe of gait is trained; one person in eight walks
BATCH = 50
STEPS, STEP_BATCH, LEARNING_RATE = 700, 64, 3e-3
VIEWS, WIDTH, HIDDEN = 6, 24, 64


class Seen(NamedTuple):
    """What the base makes of N videos.

    Attributes:
      tokens: float16[N, 16, L, D]. occupied: float16[N, 16, L], log-probability that a token shows somebody.
      said: the class number that the readers say, int[N] by attribute. truth: likewise.
    """

    tokens: np.ndarray
    occupied: np.ndarray
    said: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]


def walks(plan: VideoPlan) -> bool:
    return plan.person.position is None


def alone(plans: Iterator[VideoPlan], number: int, wanted: Callable[[VideoPlan], bool] = lambda plan: True) -> list[VideoPlan]:
    return list(itertools.islice((plan for plan in plans if plan.bystander is None and wanted(plan)), number))


def look(plans: Sequence[VideoPlan]) -> Seen:
    config = stage2.tiny()
    model, params = build_pvchat(config.model), read_tensors(weights_directory("tiny"), ("vision_encoder/", "vision_norm/", "readers/"))
    num_frames = config.data.num_frames
    num_clips = NUM_FRAMES // num_frames

    @jax.jit
    def watch(clips: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        tokens = encode(model, params, clips)[:, 1:]
        logits = {name: values.reshape(BATCH, num_clips, -1).mean(1) for name, values in read_person(params["readers"], tokens).items()}
        occupied = jax.nn.log_softmax(read(params["readers"], tokens)["occupied"])[..., 1]
        in_order = functools.partial(_in_order, num_clips=num_clips, num_frames=num_frames)
        return in_order(tokens), in_order(occupied[..., None])[..., 0], {name: jnp.argmax(logits[name], -1) for name in IDENTITY_VALUES}

    parts = []
    for start in range(0, len(plans), BATCH):
        videos = [render_frames(plan) for plan in plans[start : start + BATCH]]
        views = [video[first::num_clips] for video in videos for first in range(num_clips)]
        clips = [preprocess_frames(view, config.data.image_size, (1, 1))[0] for view in views]
        parts.append(jax.tree.map(np.asarray, watch(jnp.asarray(np.stack(clips)))))
    tokens, occupied, said = jax.tree.map(lambda *values: np.concatenate(values), *parts)
    truth = {
        name: np.array([PERSON_CLASSES[name].index(getattr(plan.person.identity, name)) for plan in plans]) for name in IDENTITY_VALUES
    }
    return Seen(tokens, occupied, said, truth)


def _in_order(values: jax.Array, num_clips: int, num_frames: int) -> jax.Array:
    """Tokens float[BATCH * clips, frames * L, D] of clips whose frames take turns -> float16[BATCH, 16, L, D]."""
    frames = values.reshape(BATCH, num_clips, num_frames, -1, values.shape[-1]).swapaxes(1, 2)
    return frames.reshape(BATCH, num_clips * num_frames, -1, values.shape[-1]).astype(jnp.float16)


def init_probe(key: jax.Array, width: int, classes: int) -> dict[str, jax.Array]:
    views, values, hidden, out = jax.random.split(key, 4)
    return {
        "views": jax.random.normal(views, (width, VIEWS)) * 0.3 * width**-0.5,
        "values": jax.random.normal(values, (VIEWS, width, WIDTH)) * width**-0.5,
        "values_bias": jnp.zeros((VIEWS, WIDTH)),
        "hidden": jax.random.normal(hidden, (3 * VIEWS * WIDTH, HIDDEN)) * (3 * VIEWS * WIDTH) ** -0.5,
        "hidden_bias": jnp.zeros(HIDDEN),
        "out": jax.random.normal(out, (HIDDEN, classes)) * 0.3 * HIDDEN**-0.5,
    }


def probe(params: dict[str, jax.Array], tokens: jax.Array, occupied: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
    """float[B, 16, L, D] -> float[B, classes]."""
    tokens = tokens.astype(jnp.float32)
    attention = jax.nn.softmax(tokens @ params["views"] + occupied[..., None].astype(jnp.float32), axis=2)
    seen = jnp.einsum("btlv,btld,vdw->btvw", attention, tokens, params["values"]) + params["values_bias"]
    seen = jax.nn.gelu(seen).reshape(*seen.shape[:2], -1)
    over_time = jnp.concatenate([seen.mean(1), 2 * jnp.sqrt(seen.var(1) + 1e-4), seen.max(1)], -1)
    if dropout is not None:
        over_time *= jax.random.bernoulli(dropout, 0.8, over_time.shape) / 0.8
    return jax.nn.gelu(over_time @ params["hidden"] + params["hidden_bias"]) @ params["out"]


def train_probe(seen: Seen, attribute: str) -> dict[str, jax.Array]:
    params = init_probe(jax.random.key(0), seen.tokens.shape[-1], len(PERSON_CLASSES[attribute]))
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, 50, STEPS, 0.0), weight_decay=1e-2)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, tokens, occupied, labels, key):
        def loss(params):
            logits = probe(params, tokens, occupied, key)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(0)
    for number in range(STEPS):
        rows = rng.integers(len(seen.tokens), size=STEP_BATCH)
        params, state = step(params, state, seen.tokens[rows], seen.occupied[rows], seen.truth[attribute][rows], jax.random.key(number))
    return params


@pytest.mark.slow
def test_every_identity_attribute_of_a_person_who_is_alone_is_read_off_a_whole_video() -> None:
    # Of as many worlds, since half of the videos of one world show one person.
    tests = look(alone((plan_video(10_000 + world, "test", world) for world in itertools.count()), NUM_VIDEOS))
    base = (plan_base_video(77, index) for index in itertools.count())
    walkers = alone(base, NUM_WALKERS, walks)
    trained = train_probe(look([*walkers, *alone(base, NUM_OTHERS, lambda plan: not walks(plan))]), "gait")
    compiled = jax.jit(probe)
    rows = range(0, NUM_VIDEOS, BATCH)
    gait = [np.argmax(compiled(trained, tests.tokens[row : row + BATCH], tests.occupied[row : row + BATCH]), -1) for row in rows]
    said = tests.said | {"gait": np.concatenate(gait)}
    shares = {name: float(np.mean(said[name] == tests.truth[name])) for name in IDENTITY_VALUES}
    print(shares)
    assert {name: share for name, share in shares.items() if share < LEAST} == {}
