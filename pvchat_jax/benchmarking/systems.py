"""The systems that the benchmark compares, each as answers to the same questions about the same test videos."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.data.records import Record, load_records
from pvchat_jax.data.tokenizer import load_tokenizer
from pvchat_jax.evaluation.activity import HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.generation import answer_records, encode_records
from pvchat_jax.evaluation.threshold import read_threshold
from pvchat_jax.models.config import impersonal
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.initialise import abstract_params, load_run, starting_params
from pvchat_jax.training.partition import join_params

PERSONALIZED, BASE, QUESTION_ONLY, WRONG_PERSON = "personalized", "base", "question_only", "wrong_person"
ALWAYS_YES, ALWAYS_NO = "always_yes", "always_no"


class TestVideos(NamedTuple):
    """Test videos of one subject: readable records and their features float16[V, N, L, D], which all systems share."""

    records: list[Record]
    features: np.ndarray
    set_aside: list[SetAside]


class Answers(NamedTuple):
    """What a system said, and which heads were on meanwhile; constant systems have no heads."""

    answers: Sequence[Answer]
    activity: HeadActivity | None


def encode_test(run: Path, records_file: Path) -> TestVideos:
    """Encodes the test videos with the vision encoder of `run`, which is the base's own."""
    loaded = load_run(run, one_device())
    set_aside: list[SetAside] = []
    records, features = encode_records(
        loaded.model, loaded.params, loaded.config, load_records(records_file, loaded.config.data.subject), set_aside
    )
    return TestVideos(records, features, set_aside)


def one_device() -> jax.sharding.Mesh:
    """Answers are generated on one device."""
    return make_mesh(MeshConfig(data=1), jax.devices()[:1])


def ask_run(run: Path, test: TestVideos, *, shuffle_seed: int | None = None) -> Answers:
    """Answers of a personalised run.

    Args:
      shuffle_seed: gives every question the video of another record, so that the question alone is left to answer from.
    """
    loaded = load_run(run, one_device())
    features = test.features
    if shuffle_seed is not None:
        features = features[derangement(len(features), shuffle_seed)]
    answered = answer_records(
        loaded.model,
        loaded.params,
        loaded.tokenizer,
        loaded.config,
        test.records,
        features=features,
        threshold=read_threshold(run) or 0.0,
    )
    return Answers(answered.answers, answered.activity)


def derangement(size: int, seed: int) -> np.ndarray:
    """A random order in which nobody keeps their place: int64[size]; `size` is at least 2."""
    order = np.random.default_rng(seed).permutation(size)
    places = np.empty(size, np.int64)
    places[order] = np.roll(order, 1)
    return places


def ask_base(config: TrainConfig, test: TestVideos) -> Answers:
    """Answers of the base model before anything was learnt about the subject: no subject tokens, no routers, no LoRA."""
    config = dataclasses.replace(config, model=impersonal(config.model), init_from="")
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype))
    trainable, frozen = abstract_params(config, model, one_device())
    like = join_params(trainable, frozen)
    params, _ = starting_params(config, model, like, like, ())
    tokenizer = load_tokenizer(config.data.tokenizer, [config.data.subject])
    answered = answer_records(model, params, tokenizer, config, test.records, features=test.features)
    return Answers(answered.answers, None)


def ask_others(run: Path, config: TrainConfig, test: TestVideos, seed: int) -> dict[str, Sequence[Answer]]:
    """Answers, by system, of the base model and of the personalised `run` without the right video.

    Args:
      config: of the run's last stage.
    """
    return {BASE: ask_base(config, test).answers, QUESTION_ONLY: ask_run(run, test, shuffle_seed=seed).answers}


def constant_answers(answers: Sequence[Answer], system: str) -> Answers:
    """What always saying yes, or always saying no, would answer: the former gives the most common answer about content, the
    latter refuses."""
    common = {kind: _most_common([a.gold for a in answers if a.type == kind and a.present]) for kind in {a.type for a in answers}}

    def say(answer: Answer) -> str:
        if answer.type == "existence":
            return f"Yes, {answer.subject} is here." if system == ALWAYS_YES else f"No, {answer.subject} is not here."
        return common[answer.type] if system == ALWAYS_YES else f"{answer.subject} is not here."

    return Answers([dataclasses.replace(answer, answer=say(answer), log_odds=None) for answer in answers], None)


def _most_common(texts: Sequence[str]) -> str:
    return max(sorted(set(texts)), key=texts.count) if texts else ""
