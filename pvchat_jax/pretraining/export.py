"""The finished base model as files to ship: one safetensors file and a model card with its scores."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save

from pvchat_jax.config.flags import to_dict
from pvchat_jax.config.pretrain_schema import PretrainConfig
from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.files import write_atomically
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from pvchat_jax.pretraining.frames import Pictures
from pvchat_jax.pretraining.language import Rows, exact_answers, rows_of
from pvchat_jax.pretraining.readers import read_person
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.training.partition import Params
from pvchat_jax.training.weights import SAFETENSORS_FILE
from pvchat_jax.world.base_questions import ask_anybody
from pvchat_jax.world.plan import plan_base_video

MODEL_CARD = "MODEL_CARD.md"
_VIDEOS_PER_BATCH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseScores:
    """Scores on the validation videos, as shares.

    Attributes:
      answers: word for word right answers by question type.
      probe: by identity attribute, how often a linear reader on the vision features of one clip reads it right.
    """

    num_videos: int
    answers: Mapping[str, float]
    probe: Mapping[str, float]


def write_weights(directory: Path, params: Params, config: PretrainConfig) -> Path:
    """Writes `params` as float16, readers included: they read looks off a video, and training can go on from the file."""
    tensors = {name: np.asarray(leaf, np.float16) for name, leaf in flatten_dict(params, sep="/").items()}
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / SAFETENSORS_FILE
    write_atomically(path, save(tensors, metadata={"format": "pvchat_jax", "model": json.dumps(to_dict(config.language.model))}))
    return path


def score_base(config: PretrainConfig, params: Params, pictures: Pictures, features: np.ndarray, rows: Rows) -> BaseScores:
    """Scores of the finished model on the videos after the first `num_videos`, which nothing was trained on."""
    model = build_pvchat(config.language.model, prefix_length=rows.prefix_length)
    exact = jax.jit(functools.partial(exact_answers, model=model))
    look = jax.jit(read_person)
    language = {name: child for name, child in params.items() if name not in ("readers", "slot_readers")}
    kinds = np.array([question.type for question in ask_anybody(plan_base_video(config.seed, 0))])
    right: list[np.ndarray] = []
    seen: list[dict[str, np.ndarray]] = []
    total = len(features)
    for start in range(config.num_videos, total, _VIDEOS_PER_BATCH):
        videos = np.minimum(np.arange(start, start + _VIDEOS_PER_BATCH), total - 1)
        order = np.broadcast_to(np.arange(len(kinds)), (len(videos), len(kinds)))
        batch = rows_of(rows, videos, order) | {"features": features[videos]}
        right.append(np.asarray(exact(language, batch))[: total - start])
        read = look(params["readers"], jnp.asarray(features[videos, 0, 1:], jnp.float32))
        seen.append({name: np.asarray(jnp.argmax(values, -1))[: total - start] for name, values in read.items()})
    share = np.concatenate(right).mean(axis=0)
    labels = pictures.labels.person[config.num_videos : total]
    alone = labels[:, 1, 0] < 0
    probe = {
        name: float(np.mean(np.concatenate([part[name] for part in seen])[alone] == labels[alone, 0, column]))
        for column, name in enumerate(PERSON_CLASSES)
    }
    answers = {kind: float(share[kinds == kind].mean()) for kind in QUESTION_TYPES}
    return BaseScores(num_videos=total - config.num_videos, answers=answers, probe=probe)


def write_model_card(directory: Path, config: PretrainConfig, scores: BaseScores, minutes: Mapping[str, float]) -> None:
    """How the model was made and how good it is, as Markdown and as `scores.json`."""
    write_atomically(directory / "scores.json", json.dumps(dataclasses.asdict(scores) | {"minutes": dict(minutes)}, indent=1) + "\n")
    answers = "\n".join(f"| {kind} | {100 * value:.1f} % |" for kind, value in scores.answers.items())
    probe = "\n".join(f"| {name.replace('_', ' ')} | {100 * value:.1f} % |" for name, value in scores.probe.items())
    phases = "\n".join(
        f"| {name} | {phase.num_steps} x {phase.data.batch_size} | {minutes[name]:.0f} min |"
        for name, phase in (("image", config.image), ("video", config.video), ("language", config.language))
    )
    write_atomically(
        directory / MODEL_CARD,
        f"""# The tiny base model

A PVChat model of {_count(config)} parameters that has seen {config.num_videos} drawn videos of drawn people. It knows how to describe
people whom it is asked about by their looks or place; it has met no subject of the benchmark and knows no name. `make quickstart`
and the benchmark personalise it. It is of no use on films of real people.

Made by `python -m pvchat_jax.pretrain --config=configs/base.py:tiny` (seed {config.seed}); this page was written by that command.

| phase | steps x videos | time on two cores |
| --- | --- | --- |
{phases}

Word for word right answers on {scores.num_videos} videos of people, clothes and films that it was not trained on:

| question | right |
| --- | --- |
{answers}

What a linear reader on the vision features of one clip of {config.language.data.num_frames} frames reads off a person who is alone
in the picture:

| feature | right |
| --- | --- |
{probe}
""",
    )


def _count(config: PretrainConfig) -> str:
    model = build_pvchat(config.language.model)
    shapes = jax.eval_shape(functools.partial(init_boxed, model, config.language.model), jax.random.key(0))
    return f"{sum(leaf.size for leaf in jax.tree.leaves(shapes)) / 1e6:.1f} million"
