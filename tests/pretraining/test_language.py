"""Rows, slots and the losses of the last phase; a stand-in for the model gives known logits."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.base import tiny
from pvchat_jax.data.conversation import IGNORED_LABEL
from pvchat_jax.data.records import Question
from pvchat_jax.data.tokenizer import SubjectTokenizer, load_tokenizer
from pvchat_jax.pretraining.language import (
    SLOT_GROUPS,
    Rows,
    exact_answers,
    language_batch,
    language_loss,
    rows_of,
    slot_labels,
    tokenise,
)
from pvchat_jax.pretraining.truth import MAX_PEOPLE, PERSON_CLASSES, PLACES, Labels
from pvchat_jax.world.base_questions import ask_anybody
from pvchat_jax.world.plan import plan_base_video

CONFIG = tiny().language
TOKENS_PER_CLIP = CONFIG.model.qformer.num_visual_tokens
CLASSES = len(PERSON_CLASSES)
QUESTIONS = (
    (
        Question(question="Is the person with blue hair here?", answer="Yes, <person> is here.", type="existence"),
        Question(question="What is <person> doing?", answer="Jumping.", type="action"),
    ),
    (
        Question(question="Where is <person>?", answer="On the beach, on the left.", type="location"),
        Question(question="How is <person> dressed?", answer="A red shirt.", type="appearance"),
    ),
)


@pytest.fixture(scope="module")
def tokenizer() -> SubjectTokenizer:
    return load_tokenizer(CONFIG.data.tokenizer, [CONFIG.data.subject])


@pytest.fixture(scope="module")
def rows(tokenizer: SubjectTokenizer) -> Rows:
    return tokenise(QUESTIONS, tokenizer, CONFIG)


def labels_with(place: list[list[int]], person: list[list[int]]) -> Labels:
    """Labels of which only places and people count; person number n has the class n in every column."""
    empty = np.zeros(0)
    classes = np.asarray(person)[..., None] * np.ones(CLASSES, np.int8)
    return Labels(
        person=classes.astype(np.int8), place=np.asarray(place, np.int8), scene=empty, heads=empty, bodies=empty, points=empty, poses=empty
    )


def test_slots_say_who_is_where() -> None:
    slots = slot_labels(labels_with(place=[[0, 2], [1, -1], [2, 0]], person=[[1, 2], [1, -1], [1, 2]]))
    assert slots.shape == (3, len(PLACES), CLASSES)
    assert slots[..., 0].tolist() == [[1, -1, 2], [-1, 1, -1], [2, -1, 1]]
    assert (slots == slots[..., :1]).all()


def test_rows_hold_question_and_answer_around_the_video(rows: Rows, tokenizer: SubjectTokenizer) -> None:
    shape = (2, 2, rows.video_mask.shape[0])
    assert rows.input_ids.shape == rows.labels.shape == shape
    assert shape[-1] % 8 == 0
    assert rows.video_mask.sum() == TOKENS_PER_CLIP
    assert rows.lengths.max() <= shape[-1] < rows.lengths.max() + 8
    for video, questions in enumerate(QUESTIONS):
        for number, question in enumerate(questions):
            ids, labels = rows.input_ids[video, number].tolist(), rows.labels[video, number]
            length = int(rows.lengths[video, number])
            learnt = labels[labels != IGNORED_LABEL].tolist()
            assert learnt == [*tokenizer.encode_plain(question.answer), tokenizer.eos_id]
            assert ids[length - len(learnt) : length] == learnt
            assert not any(ids[length:])
            assert question.question in tokenizer.decode(ids[TOKENS_PER_CLIP:length])


def test_chosen_rows_are_masked_by_their_lengths(rows: Rows) -> None:
    batch = rows_of(rows, np.array([1, 0, 1]), np.array([[1, 0], [0, 1], [0, 0]]))
    size = rows.video_mask.shape[0]
    longest = rows.answer_positions.shape[-1]
    shapes = {name: (3, 2, longest if name == "answer_positions" else size) for name in batch}
    assert {name: array.shape for name, array in batch.items()} == shapes
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "input_ids": "int32",
        "labels": "int32",
        "answer_positions": "int32",
        "attention_mask": "bool",
        "video_mask": "bool",
    }
    for number, (video, order) in enumerate([(1, (1, 0)), (0, (0, 1)), (1, (0, 0))]):
        for place, question in enumerate(order):
            np.testing.assert_array_equal(batch["input_ids"][number, place], rows.input_ids[video, question])
            np.testing.assert_array_equal(batch["labels"][number, place], rows.labels[video, question])
            assert batch["attention_mask"][number, place].tolist() == [index < rows.lengths[video, question] for index in range(size)]
            np.testing.assert_array_equal(batch["video_mask"][number, place], rows.video_mask)


def test_base_questions_fit_the_shapes(tokenizer: SubjectTokenizer) -> None:
    rows = tokenise([ask_anybody(plan_base_video(0, index)) for index in range(20)], tokenizer, CONFIG)
    assert rows.input_ids.shape[:2] == (20, 10)
    assert rows.input_ids.shape[-1] <= 96
    sizes = CONFIG.model.language_model
    assert rows.input_ids.max() < sizes.vocab_size + sizes.num_added_tokens


def test_batches_take_training_videos_and_each_question_once(rows: Rows) -> None:
    config = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, batch_size=6, questions_per_video=2))
    features = np.arange(2, dtype=np.float16)[:, None, None, None] * np.ones((1, 1, 5, 3), np.float16)
    slots = np.arange(2)[:, None, None] * np.ones((1, 3, CLASSES), int)
    seen = set()
    for seed in range(8):
        batch = language_batch(np.random.default_rng(seed), features=features, rows=rows, slots=slots, num_videos=1, config=config)
        assert batch["features"].shape == (6, 1, 5, 3)
        assert not batch["features"].any() and not batch["slots"].any()  # the second video is for validation
        for ids in batch["input_ids"]:
            seen.add(tuple(map(tuple, ids.tolist())))
    assert len(seen) == 2  # both orders of the first video's two questions


class StandIn:
    """A model that predicts each next token of its input, and whose query tokens are its features; its hidden states are logits."""

    def apply(self, variables: dict, *inputs: jax.Array | None, method: str, **options: object) -> object:
        assert "slot_readers" not in variables["params"]
        return inputs[0] if method == "head" else self._hidden_states(*inputs, **options)

    def _hidden_states(
        self, video: None, input_ids: jax.Array, *masks: jax.Array, features: jax.Array, positions: jax.Array, **options: object
    ) -> tuple[types.SimpleNamespace, dict]:
        following = jnp.take_along_axis(jnp.roll(input_ids, -1, axis=-1), positions, axis=-1)
        logits = 30.0 * jax.nn.one_hot(following, CONFIG.model.language_model.vocab_size + 1)
        return types.SimpleNamespace(states=logits), {
            "intermediates": {"qformer": {"__call__": (types.SimpleNamespace(queries=features),)}}
        }


def all_rows(rows: Rows) -> dict[str, np.ndarray]:
    return rows_of(rows, np.array([0, 1]), np.array([[0, 1], [0, 1]])) | {"features": np.zeros((2, 12, 5), np.float16)}


def test_an_answer_is_exact_if_every_token_of_it_is(rows: Rows) -> None:
    exact = jax.jit(functools.partial(exact_answers, model=StandIn()))
    batch = all_rows(rows)
    assert exact({}, batch).tolist() == [[True, True], [True, True]]
    first = int(np.flatnonzero(batch["labels"][1, 0] != IGNORED_LABEL)[0])
    for place, right in ((first - 1, True), (first, False), (first + 3, False)):
        said = batch["input_ids"].copy()
        said[1, 0, place] = 7
        assert exact({}, batch | {"input_ids": said}).tolist() == [[True, True], [right, True]]


def test_query_tokens_are_read_place_by_place(rows: Rows) -> None:
    outputs = sum(SLOT_GROUPS.values())
    slots = slot_labels(labels_with(place=[[0, 2], [1, -1]], person=[[1, 0], [1, -1]]))
    width = -(-outputs // 4)  # of a query; four of them per place
    said = np.zeros((2, len(PLACES), 4 * width), np.float32)
    for video, place in np.ndindex(2, len(PLACES)):
        start = 0
        for column, (name, size) in enumerate(SLOT_GROUPS.items()):
            value = int(slots[video, place, 0] >= 0) if name == "occupied" else max(int(slots[video, place, column - 1]), 0)
            said[video, place, start + value] = 30.0
            start += size
    params = {"slot_readers": {"kernel": np.eye(4 * width, dtype=np.float32)[:, :outputs], "bias": np.zeros(outputs, np.float32)}}
    batch = all_rows(rows) | {"slots": slots}
    loss_of = jax.jit(functools.partial(language_loss, model=StandIn(), auxiliary_weight=0.5))
    loss, metrics = loss_of(params, batch | {"features": said.reshape(2, 12, width)})
    assert metrics["slot_loss"] < 1e-4
    assert metrics["token_accuracy"] == 1
    assert all(float(metrics[f"accuracy/{name}"]) == pytest.approx(1) for name in SLOT_GROUPS)
    swapped_loss, swapped = loss_of(params, batch | {"features": said[:, ::-1].reshape(2, 12, width)})
    assert swapped["slot_loss"] > 10
    assert float(swapped_loss - loss) == pytest.approx(0.5 * float(swapped["slot_loss"] - metrics["slot_loss"]), rel=1e-4)


def test_slots_are_as_many_as_people_can_stand() -> None:
    assert len(PLACES) >= MAX_PEOPLE
    assert CONFIG.model.qformer.num_query_tokens % len(PLACES) == 0
