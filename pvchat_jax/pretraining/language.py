"""Pretraining of Q-Former and language model on questions and answers, over the features of the finished vision encoder.

Besides answering, the query tokens learn to hold who is on the left, in the middle and on the right, from dense labels: without
these, answers about looks stay at chance for a long time.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.conversation import IGNORED_LABEL, answer_positions, common_prefix_length, num_learnt, pad_row
from pvchat_jax.data.pipeline import training_rows
from pvchat_jax.data.records import Question
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.models.pvchat import PVChat
from pvchat_jax.objectives.language_modelling import mean_loss, next_tokens, token_accuracy, token_sums_of_states
from pvchat_jax.pretraining.readers import GROUPS, init_readers, person_loss, read
from pvchat_jax.pretraining.truth import PERSON_CLASSES, PLACES, Labels
from pvchat_jax.pretraining.vision import apply_gradients
from pvchat_jax.training.state import TrainState

Batch = Mapping[str, jax.Array]
Params = dict[str, Any]

VISION = ("vision_encoder", "vision_norm")
SLOT_GROUPS = {name: GROUPS[name] for name in ("occupied", *PERSON_CLASSES)}


class Rows(NamedTuple):
    """Conversations of N videos with K questions each, padded to S positions: int16[N, K, S] each.

    `answer_positions` is int16[N, K, A], for the A tokens of the longest answer; the first `prefix_length` positions are all alike.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    answer_positions: np.ndarray
    lengths: np.ndarray  # int16[N, K]
    video_mask: np.ndarray  # bool[S], the same in all rows
    prefix_length: int


def init_language(model: PVChat, config: TrainConfig, params: Params, key: jax.Array) -> Params:
    """The trainable tree of this phase: all of `params` but the vision part, and readers of the slots."""
    rest = {name: child for name, child in params.items() if name not in VISION}
    queries = config.model.qformer.num_query_tokens // len(PLACES)
    return rest | {"slot_readers": init_readers(key, queries * config.model.qformer.width, sum(SLOT_GROUPS.values()))}


def tokenise(questions: Sequence[Sequence[Question]], tokenizer: SubjectTokenizer, config: TrainConfig) -> Rows:
    """Rows of all questions; every video has equally many."""
    row_of = training_rows(config, (question for of_video in questions for question in of_video), tokenizer)
    rows = [[row_of[question] for question in of_video] for of_video in questions]
    lengths = np.array([[len(row.input_ids) for row in of_video] for of_video in rows], np.int16)
    size = -(-int(lengths.max()) // 8) * 8
    padded = [[pad_row(row, size) for row in of_video] for of_video in rows]
    labels = np.array([[row.labels for row in of_video] for of_video in padded], np.int16)
    return Rows(
        input_ids=np.array([[row.input_ids for row in of_video] for of_video in padded], np.int16),
        labels=labels,
        answer_positions=answer_positions(labels, num_learnt(row_of.values())).astype(np.int16),
        lengths=lengths,
        video_mask=padded[0][0].video_mask,
        prefix_length=common_prefix_length(row_of.values()),
    )


def slot_labels(labels: Labels) -> np.ndarray:
    """Who is at each of `truth.PLACES`: int8[N, 3, C], -1 where nobody is."""
    slots = np.full((len(labels.place), len(PLACES), len(PERSON_CLASSES)), -1, np.int8)
    for index in range(labels.place.shape[1]):
        videos = np.flatnonzero(labels.place[:, index] >= 0)
        slots[videos, labels.place[videos, index]] = labels.person[videos, index]
    return slots


def language_batch(
    rng: np.random.Generator, *, features: np.ndarray, rows: Rows, slots: np.ndarray, num_videos: int, config: TrainConfig
) -> dict[str, np.ndarray]:
    """Random videos of the first `num_videos`, each with random questions of its own."""
    videos = np.sort(rng.integers(num_videos, size=config.data.batch_size))
    order = np.argsort(rng.random((len(videos), rows.lengths.shape[1])), axis=1)[:, : config.data.questions_per_video]
    return rows_of(rows, videos, order) | {"features": features[videos], "slots": slots[videos]}


def rows_of(rows: Rows, videos: np.ndarray, order: np.ndarray) -> dict[str, np.ndarray]:
    """The chosen rows as the model takes them: int32 and bool [B, K, S] each, and the positions; `order` is int[B, K]."""
    input_ids = rows.input_ids[videos[:, None], order].astype(np.int32)
    return {
        "input_ids": input_ids,
        "labels": rows.labels[videos[:, None], order].astype(np.int32),
        "answer_positions": rows.answer_positions[videos[:, None], order].astype(np.int32),
        "attention_mask": np.arange(input_ids.shape[-1]) < rows.lengths[videos[:, None], order][..., None],
        "video_mask": np.broadcast_to(rows.video_mask, input_ids.shape),
    }


def answer(model: PVChat, params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Hidden states float[B, K, A, H] of the language model before the tokens of the answers, and the query tokens' last ones
    float[B, Nq, Q] over one clip per video."""
    (output, state) = model.apply(
        {"params": params},
        None,
        batch["input_ids"],
        batch["attention_mask"],
        batch["video_mask"],
        features=batch["features"].astype(jnp.float32),
        positions=batch["answer_positions"],
        capture_intermediates=lambda module, _: module.name == "qformer",
        mutable="intermediates",
        method="hidden_states",
    )
    return output.states, state["intermediates"]["qformer"]["__call__"][0].queries


def _logits(model: PVChat, params: Params, states: jax.Array) -> jax.Array:
    return model.apply({"params": params}, states, method="head")


def _targets(batch: Batch) -> jax.Array:
    """Tokens of the answers, int32[B, K, A], -100 where there are fewer."""
    return jnp.take_along_axis(next_tokens(batch["labels"]), batch["answer_positions"], axis=-1)


def language_loss(params: Params, batch: Batch, *, model: PVChat, auxiliary_weight: float) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Answer loss plus the weighted loss of the slots' readers, and metrics."""
    of_model = {name: child for name, child in params.items() if name != "slot_readers"}
    states, queries = answer(model, of_model, batch)
    tokens = token_sums_of_states(lambda states, _: _logits(model, of_model, states), states, _targets(batch))
    slots = queries.reshape(queries.shape[0], len(PLACES), -1)  # [B, 3, Nq / 3 * Q]
    slot_loss, accuracies = person_loss(read(params["slot_readers"], slots, SLOT_GROUPS), batch["slots"].astype(jnp.int32))
    metrics = {"lm_loss": mean_loss(tokens), "slot_loss": slot_loss, "token_accuracy": token_accuracy(tokens)}
    return metrics["lm_loss"] + auxiliary_weight * slot_loss, metrics | accuracies


def language_step(
    state: TrainState,
    batch: Batch,
    *,
    model: PVChat,
    auxiliary_weight: float,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, as a pure function."""
    loss_of = functools.partial(language_loss, model=model, auxiliary_weight=auxiliary_weight)
    (loss, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.trainable, batch)
    return apply_gradients(state, loss, gradients, metrics, optimizer=optimizer, config=config)


def exact_answers(params: Params, batch: Batch, *, model: PVChat) -> jax.Array:
    """Whether each answer is generated word for word by greedy decoding: bool[B, K].

    Greedy decoding gives the gold answer exactly where every one of its tokens is the most probable one after those before it,
    so one forward pass over the gold answer tells.
    """
    states, _ = answer(model, params, batch)
    targets = _targets(batch)
    return jnp.all((jnp.argmax(_logits(model, params, states), axis=-1) == targets) | (targets == IGNORED_LABEL), axis=-1)
