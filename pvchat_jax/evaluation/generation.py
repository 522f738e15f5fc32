"""Greedy answers to the questions of a set of records, from their videos, on one device."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pvchat_jax.config.schema import DataConfig, TrainConfig
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Record
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.activity import ActivityMeter, HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.evaluation.examiner import Examiner, to_answers
from pvchat_jax.inference.engine import Engine

VIDEOS_AT_ONCE = 4


class Answered(NamedTuple):
    """Answers in the order of records and questions, the videos that could not be read, and the heads that were on in the others."""

    answers: list[Answer]
    set_aside: list[SetAside]
    activity: HeadActivity


def answer_records(
    model: Any,
    params: Any,
    tokenizer: SubjectTokenizer,
    config: TrainConfig,
    records: Sequence[Record],
    *,
    threshold: float = 0.0,
    max_new_tokens: int | None = None,
) -> Answered:
    """Asks the model every question of `records`.

    Args:
      model: has `apply` with the methods of models/pvchat.py.
      params: the model's parameters.
      config: how the model was trained; gives frames, tiles and the layout of the prompt.
      records: with absolute paths of videos, all about `config.data.subject`.
      threshold: log-odds in nats that an answer needs to begin with "Yes"; `Answer.log_odds` stay as they are.
      max_new_tokens: of each answer; by default what the longest true answer needs and some more.
    """
    set_aside: list[SetAside] = []
    answers: list[Answer] = []
    meter = ActivityMeter()
    num_shared_heads = config.model.qformer.remoh.num_shared_heads
    if not records:
        return Answered(answers, set_aside, meter.activity(num_shared_heads))
    decoding = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    examiner = Examiner(
        records,
        tokenizer,
        config,
        VIDEOS_AT_ONCE,
        lambda row: Engine(model, params, tokenizer, row),
        decoding=decoding,
        threshold=threshold,
    )
    readable = _readable(records, config.data, set_aside)
    while group := list(itertools.islice(readable, VIDEOS_AT_ONCE)):
        filled = [*group, *itertools.repeat(group[0], VIDEOS_AT_ONCE - len(group))]
        features = examiner.engine.encode(np.stack([video for _, video in filled]))
        heard = examiner(features, [record.questions for record, _ in group])
        for index, ((record, _), said) in enumerate(zip(group, heard.said, strict=True)):
            meter.add({module: share[index] for module, share in heard.gate_shares.items()}, present=record.present)
            answers.extend(to_answers(record, said, has_odds=examiner.has_odds))
    return Answered(answers, set_aside, meter.activity(num_shared_heads))


def read_video(path: str, data: DataConfig) -> np.ndarray:
    """The frames that evaluation looks at, as float32[N, T, H, W, 3]; raises UserError where the file cannot be read."""
    frames = read_frames(path, data.num_frames).frames
    return preprocess_frames(frames, data.image_size, data.tile_grid)


def _readable(records: Sequence[Record], data: DataConfig, set_aside: list[SetAside]) -> Iterator[tuple[Record, np.ndarray]]:
    """Records with their videos; one that cannot be read is added to `set_aside`."""
    for record in records:
        try:
            yield record, read_video(record.video, data)
        except UserError as error:
            set_aside.append(SetAside(record.video, str(error)))
