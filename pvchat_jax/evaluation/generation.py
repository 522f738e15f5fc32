"""Greedy answers to the questions of a set of records.

A video is seen once for all its questions, and so is what they have in common. Each new token recomputes the whole row, without
a cache: one fixed shape, one compilation, and the same forward pass as in training.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.conversation import TextRow, build_prompt_row, build_training_row, common_prefix_length
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.activity import ActivityMeter, HeadActivity
from pvchat_jax.evaluation.scores import Answer, SetAside

_VIDEOS_PER_BATCH = 4
_MAX_QUESTIONS_PER_BATCH = 8
_SPARE_TOKENS = 8
_LENGTH_MULTIPLE = 16


class Answered(NamedTuple):
    """Answers in the order of records and questions, the videos that could not be read, and the heads that were on in the others."""

    answers: list[Answer]
    set_aside: list[SetAside]
    activity: HeadActivity


class View(NamedTuple):
    """What the language model gets of B videos, `visual: float[B, M, H]`, and by routed module the shares float32[B, R] of a video's
    (clip, token) pairs whose gate is above zero, for each routed head."""

    visual: jax.Array
    gate_shares: dict[str, jax.Array]


class Decoded(NamedTuple):
    """`tokens: int32[B, K, M]`, filled up with EOS, and the first token's `log_odds: float32[B, K]` of "Yes" against "No"."""

    tokens: jax.Array
    log_odds: jax.Array


class _Rows(NamedTuple):
    """Rows of one batch: `input_ids: int32[B, K, S]`, `lengths: int32[B, K]`, `video_mask: bool[B, K, S]`, `active: bool[B, K]`."""

    input_ids: np.ndarray
    lengths: np.ndarray
    video_mask: np.ndarray
    active: np.ndarray


class _Asked(NamedTuple):
    record: Record
    video: np.ndarray | None  # float32[N, T, H, W, 3]; None where there are features
    features: np.ndarray | None  # float[N, L, D]
    rows: tuple[TextRow, ...]


def answer_records(
    model: Any,
    params: Any,
    tokenizer: SubjectTokenizer,
    config: TrainConfig,
    records: Sequence[Record],
    console: Console | None = None,
    *,
    features: np.ndarray | None = None,
    threshold: float = 0.0,
    max_new_tokens: int | None = None,
) -> Answered:
    """Asks the model every question of `records`.

    Args:
      model: has `apply` with the methods of models/pvchat.py.
      params: the model's parameters.
      config: how the model was trained; gives frames, tiles and the layout of the prompt.
      records: with absolute paths of videos, all about `config.data.subject`.
      console: where a progress bar with the remaining time is shown; None shows none.
      features: float[V, N, L, D] from `encode_records`, in the order of `records`; no video is read then.
      threshold: log-odds in nats that an answer needs to begin with "Yes"; see `Decoded.log_odds`, which stay as they are.
      max_new_tokens: of each answer; by default what the longest true answer needs and some more.
    """
    set_aside: list[SetAside] = []
    answers: list[Answer] = []
    meter = ActivityMeter()
    num_shared_heads = config.model.qformer.remoh.num_shared_heads
    if not records:
        return Answered(answers, set_aside, meter.activity(num_shared_heads))
    questions = [question for record in records for question in record.questions]
    prompts = {question: _row(build_prompt_row, tokenizer, config, question) for question in set(questions)}
    longest = max(len(_answer_tokens(tokenizer, config, question, question.answer)) for question in set(questions))
    budget = max_new_tokens or longest + _SPARE_TOKENS
    length = math.ceil((max(len(row.input_ids) for row in prompts.values()) + budget) / _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE
    num_questions = min(max(len(record.questions) for record in records), _MAX_QUESTIONS_PER_BATCH)
    yes_id, no_id = (int(_answer_tokens(tokenizer, config, questions[0], word)[0]) for word in ("Yes", "No"))
    model = model.clone(prefix_length=common_prefix_length(prompts.values()))
    encode = make_encoder(model)
    look = make_viewer(model)
    decode = make_decoder(model, max_new_tokens=budget, eos_id=tokenizer.eos_id, yes_id=yes_id, no_id=no_id)
    with _progress(console) as progress:
        bar = progress.add_task("answering", total=len(records))
        if features is None:
            asked = _read_videos(records, prompts, config, set_aside, lambda: progress.advance(bar))
        else:
            rows = ([prompts[question] for question in record.questions] for record in records)
            asked = (_Asked(record, None, array, tuple(of)) for record, array, of in zip(records, features, rows, strict=True))
        while group := list(itertools.islice(asked, _VIDEOS_PER_BATCH)):
            filled = _fill(group, _VIDEOS_PER_BATCH)
            if features is None:
                encoded = encode(params, np.stack([item.video for item in filled]))
            else:
                encoded = np.stack([item.features for item in filled]).astype(config.compute_dtype)
            view = look(params, encoded)
            shares = {module: np.asarray(share) for module, share in view.gate_shares.items()}
            decoded = [
                decode(params, view.visual, threshold, *_stack_rows(group, start, num_questions, length))
                for start in range(0, max(len(item.rows) for item in group), num_questions)
            ]
            tokens = np.concatenate([np.asarray(part.tokens) for part in decoded], axis=1)
            log_odds = np.concatenate([np.asarray(part.log_odds) for part in decoded], axis=1)
            for index, item in enumerate(group):
                meter.add({module: share[index] for module, share in shares.items()}, present=item.record.present)
                answers.extend(_to_answers(item.record, tokens[index], log_odds[index], tokenizer, has_odds=yes_id != no_id))
            progress.advance(bar, len(group))
    return Answered(answers, set_aside, meter.activity(num_shared_heads))


def make_encoder(model: Any) -> Callable[[Any, jax.typing.ArrayLike], jax.Array]:
    """A jitted function `(params, video float[B, N, T, H, W, 3]) -> features float[B, N, L, D]`."""
    return jax.jit(lambda params, video: model.apply({"params": params}, video, method="encode_video"))


def encode_records(
    model: Any, params: Any, config: TrainConfig, records: Sequence[Record], set_aside: list[SetAside]
) -> tuple[list[Record], np.ndarray]:
    """The records whose video can be read and their features float16[V, N, L, D], for several evaluations of the same videos.

    Others are added to `set_aside`; with no video left, ValueError.
    """
    encode = make_encoder(model)
    no_rows: dict[Question, TextRow] = {}
    bare = [dataclasses.replace(record, questions=()) for record in records]
    asked = list(_read_videos(bare, no_rows, config, set_aside, lambda: None))
    features = []
    for start in range(0, len(asked), _VIDEOS_PER_BATCH):
        group = asked[start : start + _VIDEOS_PER_BATCH]
        encoded = encode(params, np.stack([item.video for item in _fill(group, _VIDEOS_PER_BATCH)]))
        features.append(np.asarray(encoded[: len(group)], np.float16))
    readable = {item.record.video for item in asked}
    return [record for record in records if record.video in readable], np.concatenate(features)


def make_viewer(model: Any) -> Callable[..., View]:
    """A jitted function `(params, features float[B, N, L, D]) -> View`, the Q-Former's part of answering."""

    def look(params: Any, features: jax.Array) -> View:
        output = model.apply({"params": params}, features, method="query")
        visual = model.apply({"params": params}, output.queries, features.shape[0], method="visual_tokens")
        shares = {
            module: jnp.mean(routed.gates.reshape(features.shape[0], -1, routed.gates.shape[-1]) > 0, axis=1)
            for module, routed in output.routing.items()
        }
        return View(visual, shares)

    return jax.jit(look)


def make_decoder(model: Any, *, max_new_tokens: int, eos_id: int, yes_id: int, no_id: int) -> Callable[..., Decoded]:
    """A jitted greedy decoder of fixed shape.

    Returns:
      A function `(params, visual float[B, M, H], threshold float[], input_ids int[B, K, S], lengths int[B, K],
      video_mask bool[B, K, S], active bool[B, K]) -> Decoded`. A row's prompt is its first `lengths` tokens and S has room for
      `max_new_tokens` more; rows that are not `active` are padding. It stops as soon as every active row has ended.
    """

    def decode(
        params: Any,
        visual: jax.Array,
        threshold: jax.Array,
        input_ids: jax.Array,
        lengths: jax.Array,
        video_mask: jax.Array,
        active: jax.Array,
    ) -> Decoded:
        positions = jnp.arange(input_ids.shape[-1])

        def is_running(state: tuple) -> jax.Array:
            step, _, _, done, _, _ = state
            return (step < max_new_tokens) & ~jnp.all(done)

        def extend(state: tuple) -> tuple:
            step, ids, lengths, done, tokens, log_odds = state
            attention_mask = positions < lengths[..., None]
            last = (lengths - 1)[..., None]
            logits = model.apply({"params": params}, visual, ids, attention_mask, video_mask, last, method="row_logits")[:, :, 0]
            log_odds = jnp.where(step == 0, logits[..., yes_id] - logits[..., no_id], log_odds)
            logits = jnp.where(step == 0, decide(logits, log_odds > threshold, yes_id, no_id), logits)
            token = jnp.where(done, eos_id, jnp.argmax(logits, axis=-1).astype(ids.dtype))
            done = done | (token == eos_id)
            ids = jnp.where((positions == lengths[..., None]) & ~done[..., None], token[..., None], ids)
            tokens = jax.lax.dynamic_update_slice_in_dim(tokens, token[..., None], step, axis=2)
            return step + 1, ids, lengths + ~done, done, tokens, log_odds

        tokens = jnp.full((*lengths.shape, max_new_tokens), eos_id, input_ids.dtype)
        state = (0, input_ids, lengths, ~active, tokens, jnp.zeros(lengths.shape, jnp.float32))
        _, _, _, _, tokens, log_odds = jax.lax.while_loop(is_running, extend, state)
        return Decoded(tokens, log_odds)

    return jax.jit(decode)


def decide(logits: jax.Array, is_yes: jax.Array, yes_id: int, no_id: int) -> jax.Array:
    """`logits float[..., V]` in which "Yes" and "No" change places where the wrong one of them leads.

    So a threshold decides between the two, and the model alone decides whether the answer begins with one of them at all.

    Args:
      is_yes: bool[...].
    """
    yes, no = logits[..., yes_id], logits[..., no_id]
    higher, lower = jnp.maximum(yes, no), jnp.minimum(yes, no)
    logits = logits.at[..., yes_id].set(jnp.where(is_yes, higher, lower))
    return logits.at[..., no_id].set(jnp.where(is_yes, lower, higher))


def _row(build: Callable[..., TextRow], tokenizer: SubjectTokenizer, config: TrainConfig, question: Question, **answer: str) -> TextRow:
    return build(
        tokenizer,
        question=question.question,
        subject=config.data.subject,
        num_clips=config.data.num_clips,
        tokens_per_clip=config.model.qformer.num_visual_tokens,
        style=config.data.prompt_style,
        **answer,
    )


def _answer_tokens(tokenizer: SubjectTokenizer, config: TrainConfig, question: Question, answer: str) -> np.ndarray:
    """Ids that training asks for after the prompt, EOS included: only the row as a whole shows where a tokenizer splits."""
    row = _row(build_training_row, tokenizer, config, question, answer=answer)
    return row.labels[row.labels != -100]


def _read_videos(
    records: Sequence[Record], prompts: dict[Question, TextRow], config: TrainConfig, set_aside: list[SetAside], skip: Callable[[], None]
) -> Iterator[_Asked]:
    """Videos with the rows of their questions; one that cannot be read is added to `set_aside`, and `skip` is called."""
    for record in records:
        try:
            frames = read_frames(record.video, config.data.num_frames).frames
            video = preprocess_frames(frames, config.data.image_size, config.data.tile_grid)
        except UserError as error:
            set_aside.append(SetAside(record.video, str(error)))
            skip()
        else:
            yield _Asked(record, video, None, tuple(prompts[question] for question in record.questions))


def _fill(group: Sequence[_Asked], size: int) -> list[_Asked]:
    """`group` brought to `size` by repeating its first item."""
    return [*group, *itertools.repeat(group[0], size - len(group))]


def _stack_rows(group: Sequence[_Asked], start: int, num_questions: int, length: int) -> _Rows:
    """Rows `start` to `start + num_questions` of each video, padded to the fixed shape with inactive copies of the first row."""
    shape = (_VIDEOS_PER_BATCH, num_questions, length)
    rows = _Rows(np.zeros(shape, np.int32), np.zeros(shape[:2], np.int32), np.zeros(shape, bool), np.zeros(shape[:2], bool))
    for video, item in enumerate(_fill(group, _VIDEOS_PER_BATCH)):
        for slot in range(num_questions):
            is_real = video < len(group) and start + slot < len(item.rows)
            row = item.rows[start + slot] if is_real else item.rows[0]
            rows.input_ids[video, slot, : len(row.input_ids)] = row.input_ids
            rows.video_mask[video, slot, : len(row.input_ids)] = row.video_mask
            rows.lengths[video, slot] = len(row.input_ids)
            rows.active[video, slot] = is_real
    return rows


def _to_answers(
    record: Record, tokens: np.ndarray, log_odds: np.ndarray, tokenizer: SubjectTokenizer, *, has_odds: bool
) -> Iterator[Answer]:
    for question, ids, odds in zip(record.questions, tokens, log_odds, strict=False):  # rows beyond the questions are padding
        ended = np.flatnonzero(ids == tokenizer.eos_id)
        text = tokenizer.decode(ids[: ended[0] if len(ended) else len(ids)].tolist()).strip()
        is_scored = has_odds and question.type == "existence" and math.isfinite(odds)
        yield Answer(
            video=record.video,
            subject=record.subject,
            role=record.role,
            origin=record.origin,
            question=question.question,
            type=question.type,
            gold=question.answer,
            answer=text,
            log_odds=round(float(odds), 4) if is_scored else None,
            grade=_grade(record),
        )


def _grade(record: Record) -> int | None:
    """In how many attributes a look-alike differs from the subject, where the record's truth lists them."""
    differences = record.truth.get("differences")
    return len(differences) if record.role == "hard_negative" and isinstance(differences, list) and differences else None


def _progress(console: Console | None) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("videos"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=console is None)
