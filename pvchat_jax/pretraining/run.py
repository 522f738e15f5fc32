"""The phases of a base model's training put together: each is a resumable run in a folder of its own."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta
from flax.traverse_util import flatten_dict, unflatten_dict
from rich.console import Console
from rich.progress import Progress

from pvchat_jax.config.flags import flatten
from pvchat_jax.config.pretrain_schema import PretrainConfig
from pvchat_jax.config.run_directory import CHECKPOINTS, check_output_dir, write_config
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.data.tokenizer import load_tokenizer
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import PVChat, build_pvchat, init_boxed
from pvchat_jax.pretraining.batches import RandomBatches
from pvchat_jax.pretraining.export import score_base, write_model_card, write_weights
from pvchat_jax.pretraining.frames import Pictures, draw_pictures
from pvchat_jax.pretraining.language import Rows, init_language, language_batch, language_step, slot_labels, tokenise
from pvchat_jax.pretraining.parts import init_segmenter, make_batches, parts_step, score_parts, write_segmenter
from pvchat_jax.pretraining.vision import encode, hand_over_positions, init_vision, normalise, vision_step
from pvchat_jax.sharding import make_mesh, mesh_context, put_batch, replicated
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.loop import Outputs, train
from pvchat_jax.training.metrics import METRICS_FILE, MetricsWriter, ProgressReport
from pvchat_jax.training.optimizer import make_optimizer
from pvchat_jax.training.partition import Params
from pvchat_jax.training.state import TrainState, create_train_state
from pvchat_jax.training.weights import read_tensors, weights_directory
from pvchat_jax.world.base_questions import ask_anybody
from pvchat_jax.world.plan import plan_base_video

PHASES = ("image", "video", "language", "parts")


def pretrain(config: PretrainConfig, console: Console) -> Path:
    """Trains, or continues, a base model; returns the folder with its weights and its model card."""
    folders = {name: f"{config.output_dir}/{name}" for name in PHASES}  # wherever the phases' own settings point
    phases = {name: dataclasses.replace(getattr(config, name), output_dir=folder) for name, folder in folders.items()}
    config = dataclasses.replace(config, **phases)
    mesh = make_mesh(MeshConfig())
    export = Path(config.output_dir) / "export"
    train_segmenter(config.parts, export, mesh, console)
    if config.only_parts:
        return export
    pictures = draw_base_pictures(config, console)
    vision = train_vision(config, pictures, mesh, console)
    features = encode_pictures(config, pictures, vision, mesh, console)
    rows = base_rows(config)
    params = vision | train_language(config, pictures, features, rows, mesh, console)
    params = jax.device_get(params)
    write_weights(export, params, config)
    scores = score_base(config, params, pictures, features, rows)
    minutes = {name: training_minutes(getattr(config, name)) for name in PHASES}
    write_model_card(export, config, scores, minutes)
    return export


def train_segmenter(config: TrainConfig, export: Path, mesh: jax.sharding.Mesh, console: Console) -> None:
    """Trains the segmenter, or continues, and writes it with its scores."""
    start = jax.device_put(init_segmenter(config.seed), replicated(mesh))
    params = jax.device_get(train_phase(config, parts_step, start, make_batches(config), mesh, console))
    write_segmenter(export, params, config, score_parts(params, config), training_minutes(config))


def training_minutes(config: TrainConfig) -> float:
    """Minutes of training that a phase's own record of its speed adds up to, interruptions left out."""
    lines = (Path(config.output_dir) / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    seconds, last = 0.0, 0
    for metrics in map(json.loads, lines):
        if "steps_per_second" in metrics:
            seconds += (metrics["step"] - last) / metrics["steps_per_second"]
        last = metrics["step"]
    return seconds / 60


def draw_base_pictures(config: PretrainConfig, console: Console) -> Pictures:
    """Pictures of all training and, after them, validation videos."""
    with Progress(console=console) as progress:
        bar = progress.add_task("drawing", total=None)
        return draw_pictures(
            Path(config.output_dir) / "pictures",
            seed=config.seed,
            num_videos=config.num_videos + config.num_validation,
            num_frames=config.frames_per_video,
            image_size=config.language.model.vision.image_size,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def initial_params(config: TrainConfig, model: PVChat, mesh: jax.sharding.Mesh) -> Params:
    """The whole model's parameters as the seed gives them, on every device of `mesh`."""
    draw = jax.jit(lambda key: meta.unbox(init_boxed(model, config.model, key)))
    return jax.device_put(draw(jax.random.key(config.seed)), replicated(mesh))


def train_vision(config: PretrainConfig, pictures: Pictures, mesh: jax.sharding.Mesh, console: Console) -> Params:
    """Both phases of the vision encoder; returns `vision_encoder`, `vision_norm` and `readers`."""
    model = build_pvchat(config.language.model)
    params = initial_params(config.language, model, mesh)
    start = _start(config, init_vision(model, params, jax.random.fold_in(jax.random.key(config.seed), 1)), mesh)

    def train_on(phase: TrainConfig, params: Params) -> Params:
        make = functools.partial(picture_batch, pictures=pictures, num_videos=config.num_videos, config=phase)
        return train_phase(phase, functools.partial(vision_step, model=model), params, make, mesh, console)

    return train_on(config.video, hand_over_positions(start, train_on(config.image, start)))


def _start(config: PretrainConfig, drawn: Params, mesh: jax.sharding.Mesh) -> Params:
    """`drawn`, or the same parameters of the base in `config.weights`, on every device of `mesh`."""
    if config.weights:
        directory = weights_directory(config.weights)
        saved = flatten_dict(read_tensors(directory, tuple(f"{name}/" for name in drawn) + tuple(drawn)), sep="/")
        names = flatten_dict(drawn, sep="/")
        missing = [name for name, leaf in names.items() if name not in saved or saved[name].shape != leaf.shape]
        if missing:
            raise UserError(f"the base in {directory} lacks {missing[0]} in the configured size; start without --config.weights.")
        drawn = unflatten_dict({name: saved[name] for name in names}, sep="/")
    return jax.device_put(drawn, replicated(mesh))


def picture_batch(rng: np.random.Generator, *, pictures: Pictures, num_videos: int, config: TrainConfig) -> dict[str, np.ndarray]:
    """Clips of `data.num_frames` frames of random videos, one frame from each part of the video, with their labels."""
    videos = np.sort(rng.integers(num_videos, size=config.data.batch_size))
    frames = choose_frames(rng, len(videos), pictures.pixels.shape[1], config.data.num_frames)
    labels = pictures.labels
    of_frames = {name: getattr(labels, name)[videos[:, None], :, frames].swapaxes(1, 2) for name in ("heads", "bodies", "points", "poses")}
    pixels = np.stack([pictures.pixels[video][chosen] for video, chosen in zip(videos, frames, strict=True)])
    return {"pixels": pixels, "person": labels.person[videos], "scene": labels.scene[videos]} | of_frames


def choose_frames(rng: np.random.Generator, num_clips: int, num_stored: int, num_frames: int) -> np.ndarray:
    """One of the stored frames from each of `num_frames` equal parts: int[num_clips, num_frames]."""
    part = num_stored // num_frames
    return np.arange(num_frames) * part + rng.integers(part, size=(num_clips, num_frames))


def train_phase(
    config: TrainConfig,
    step: Callable[..., Any],
    trainable: Params,
    make_batch: Callable[[np.random.Generator], dict[str, np.ndarray]],
    mesh: jax.sharding.Mesh,
    console: Console,
) -> Params:
    """Trains `trainable`, or continues where the phase's folder stands, and returns the result.

    Args:
      step: `(state, batch, *, optimizer, config)` to the next state and metrics.
    """
    check_output_dir(config)
    output = Path(config.output_dir)
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    state = create_train_state(jax.tree.map(jnp.copy, trainable), config, mesh)
    iterator = RandomBatches(make_batch, config.data.seed)
    checkpoints = Checkpoints(output / CHECKPOINTS, keep=config.checkpoint.keep, report=say)
    if checkpoints.steps():
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)
        state = checkpoints.restore(like, iterator, {}).state
    done = int(state.step)
    say(f"{output}: step {done} of {config.num_steps}")
    write_config(config)
    compiled = jax.jit(functools.partial(step, optimizer=optimizer, config=config), donate_argnums=0, out_shardings=replicated(mesh))

    def run_step(state: TrainState, frozen: Params, batch: dict[str, jax.Array]) -> tuple[TrainState, dict[str, jax.Array]]:
        with mesh_context(mesh):
            return compiled(state, batch)

    metrics = MetricsWriter(output, done + 1, config.tracking, flatten(config))
    progress = ProgressReport(console, done, config.num_steps)
    try:
        state = train(config, run_step, state, {}, iterator, mesh, Outputs(checkpoints, metrics, progress, {"must_match": {}}))
    finally:
        progress.close()
        metrics.close()
        checkpoints.close()
    return state.trainable


def encode_pictures(config: PretrainConfig, pictures: Pictures, vision: Params, mesh: jax.sharding.Mesh, console: Console) -> np.ndarray:
    """Features of every video, from the same frames each time: float16[N, 1, L, D], memory-mapped; kept for a restart."""
    # The number of steps is in the name, so that an encoder that was trained further makes new ones.
    path = Path(config.language.output_dir) / f"features_{config.video.num_steps}.npy"
    if path.is_file():
        return np.load(path, mmap_mode="r")
    phase = config.language
    model = build_pvchat(phase.model)
    total, stored = pictures.pixels.shape[:2]
    frames = choose_frames(np.random.default_rng(config.seed), total, stored, phase.data.num_frames)
    size = phase.data.batch_size * 2
    encoder = jax.jit(lambda params, pixels: encode(model, params, normalise(pixels)).astype(jnp.float16))
    features: np.ndarray | None = None
    with Progress(console=console) as progress, mesh_context(mesh):
        bar = progress.add_task("encoding", total=total)
        for start in range(0, total, size):
            videos = np.minimum(np.arange(start, start + size), total - 1)
            pixels = np.stack([pictures.pixels[video][frames[video]] for video in videos])
            encoded = np.asarray(encoder(vision, put_batch({"pixels": pixels}, mesh)["pixels"]))
            if features is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = (total, 1, *encoded.shape[1:])
                features = np.lib.format.open_memmap(f"{path}.tmp", mode="w+", dtype=np.float16, shape=shape)
            features[videos, 0] = encoded
            progress.update(bar, completed=min(start + size, total))
    features.flush()
    os.replace(f"{path}.tmp", path)
    return np.load(path, mmap_mode="r")


def train_language(
    config: PretrainConfig, pictures: Pictures, features: np.ndarray, rows: Rows, mesh: jax.sharding.Mesh, console: Console
) -> Params:
    """The last phase; returns everything but the vision part, `slot_readers` included."""
    phase = config.language
    model = build_pvchat(phase.model, prefix_length=rows.prefix_length)
    params = initial_params(phase, model, mesh)
    trainable = _start(config, init_language(model, phase, params, jax.random.fold_in(jax.random.key(config.seed), 2)), mesh)
    # A copy in memory: batches are random, and pages of a mapped file may be taken away.
    data = {"features": np.array(features), "rows": rows, "slots": slot_labels(pictures.labels), "num_videos": config.num_videos}
    step = functools.partial(language_step, model=model, auxiliary_weight=config.auxiliary_weight)
    return train_phase(phase, step, trainable, functools.partial(language_batch, **data, config=phase), mesh, console)


def base_rows(config: PretrainConfig) -> Rows:
    """The conversations about all training and validation videos."""
    tokenizer = load_tokenizer(config.language.data.tokenizer, [config.language.data.subject])
    questions = [ask_anybody(plan_base_video(config.seed, index)) for index in range(config.num_videos + config.num_validation)]
    return tokenise(questions, tokenizer, config.language)
