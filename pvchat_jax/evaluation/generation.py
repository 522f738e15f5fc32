"""Greedy answers to the questions of a set of records, with one compilation of each program for all of them."""

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
from pvchat_jax.data.conversation import TextRow, build_prompt_row, build_training_row
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.activity import ActivityMeter, HeadActivity
from pvchat_jax.evaluation.answer_record import Answer, SetAside
from pvchat_jax.inference.engine import Engine, PromptShape, Seen, make_encoder
from pvchat_jax.inference.options import DecodingOptions

_VIDEOS_PER_BATCH = 4
_MAX_QUESTIONS_PER_BATCH = 8
_SPARE_TOKENS = 8


class Answered(NamedTuple):
    """Answers in the order of records and questions, the videos that could not be read, and the heads that were on in the others."""

    answers: list[Answer]
    set_aside: list[SetAside]
    activity: HeadActivity


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
      threshold: log-odds in nats that an answer needs to begin with "Yes"; `Answer.log_odds` stay as they are.
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
    yes_id, no_id = (int(_answer_tokens(tokenizer, config, questions[0], word)[0]) for word in ("Yes", "No"))
    engine = Engine(model, params, tokenizer, next(iter(prompts.values())))
    answer = _Answerer(
        engine,
        shape=PromptShape(
            num_slots=min(max(len(record.questions) for record in records), _MAX_QUESTIONS_PER_BATCH),
            length=engine.shape_of([list(prompts.values())]).length,
        ),
        options=DecodingOptions(max_new_tokens=max_new_tokens or longest + _SPARE_TOKENS),
        decide_first=jax.jit(lambda logits: _decide_first(logits, threshold, yes_id, no_id)),
    )
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
                encoded = engine.encode(np.stack([item.video for item in filled]))
            else:
                encoded = np.stack([item.features for item in filled]).astype(config.compute_dtype)
            seen = engine.see(encoded)
            shares = {module: np.asarray(share) for module, share in seen.gate_shares.items()}
            for index, (item, said) in enumerate(zip(group, answer(seen, [item.rows for item in group]), strict=True)):
                meter.add({module: share[index] for module, share in shares.items()}, present=item.record.present)
                answers.extend(_to_answers(item.record, said, has_odds=yes_id != no_id))
            progress.advance(bar, len(group))
    return Answered(answers, set_aside, meter.activity(num_shared_heads))


@dataclasses.dataclass(frozen=True)
class _Answerer:
    """Answers all questions of a batch of videos, `shape.num_slots` of each at a time."""

    engine: Engine
    shape: PromptShape
    options: DecodingOptions
    decide_first: Callable[[jax.Array], tuple[jax.Array, jax.Array]]

    def __call__(self, seen: Seen, rows: Sequence[Sequence[TextRow]]) -> list[list[tuple[str, float]]]:
        """For each video and row the answer's text and the first token's log-odds; `seen` may have more videos than `rows`."""
        at_once = self.shape.num_slots
        said: list[list[tuple[str, float]]] = [[] for _ in rows]
        for start in range(0, max(map(len, rows)), at_once):
            batch = [of_video[start : start + at_once] for of_video in rows]
            asked = self.engine.ask(seen, [*batch, *itertools.repeat((), _VIDEOS_PER_BATCH - len(rows))], self.shape)
            logits, log_odds = self.decide_first(asked.logits)
            replies = self.engine.answer(asked.with_logits(logits), self.options)
            for video, odds in enumerate(np.asarray(log_odds).reshape(-1, at_once)[: len(rows)]):
                said[video].extend((reply.text, float(value)) for reply, value in zip(replies[video], odds, strict=False))
        return said


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


def _decide_first(logits: jax.Array, threshold: float, yes_id: int, no_id: int) -> tuple[jax.Array, jax.Array]:
    """Logits float32[R, V] of the first token with the threshold applied, and the log-odds float32[R] before it was."""
    log_odds = logits[:, yes_id] - logits[:, no_id]
    return decide(logits, log_odds > threshold, yes_id, no_id), log_odds


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


def _to_answers(record: Record, said: Sequence[tuple[str, float]], *, has_odds: bool) -> Iterator[Answer]:
    for question, (text, odds) in zip(record.questions, said, strict=True):
        is_scored = has_odds and question.type == "existence" and math.isfinite(odds)
        yield Answer(
            video=record.video,
            subject=record.subject,
            role=record.role,
            origin=record.origin,
            question=question.question,
            type=question.type,
            gold=question.answer,
            answer=text.strip(),
            log_odds=round(odds, 4) if is_scored else None,
            grade=_grade(record),
            people=_people(record),
        )


def _grade(record: Record) -> int | None:
    """In how many attributes a look-alike differs from the subject, where the record's truth lists them."""
    differences = record.truth.get("differences")
    return len(differences) if record.role == "hard_negative" and isinstance(differences, list) and differences else None


def _people(record: Record) -> int | None:
    """How many people the video shows, where the record's truth says so."""
    if "bystander" in record.truth:
        return 2 if record.truth["bystander"] else 1
    people = record.truth.get("people")
    return people if isinstance(people, int) else None


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
