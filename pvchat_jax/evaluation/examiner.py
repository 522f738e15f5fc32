"""Asks one model all that is to be asked about videos, a fixed number of them at a time, with one compilation of each program."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.conversation import TextRow, build_prompt_row, build_training_row
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.evaluation.answer_record import Answer, as_answer
from pvchat_jax.inference.engine import Engine, PromptShape, Seen
from pvchat_jax.inference.options import DecodingOptions

_MAX_QUESTIONS_AT_ONCE = 16  # about each video
_SPARE_TOKENS = 8


class Said(NamedTuple):
    """An answer's text, the log-odds of "Yes" against "No" as its first token in nats, and whether it ended by itself."""

    text: str
    log_odds: float
    is_complete: bool


class Heard(NamedTuple):
    """What was said about each video, by question, and by routed module the shares float32[V, R] of its gates that were above zero."""

    said: list[list[Said]]
    gate_shares: dict[str, np.ndarray]


class Examiner:
    """Questions about a subject for one model.

    Args:
      records: all that will be asked about; their questions decide the sizes.
      config: how the model was trained; gives the layout of the prompt.
      num_videos: to which every batch is filled up.
      make_engine: gives the engine from the row of any prompt.
      decoding: fields of `DecodingOptions`; without `max_new_tokens` what the longest true answer needs and some more.
      threshold: log-odds in nats that an answer needs to begin with "Yes"; those that are reported stay as they are.
      other_name: that is asked about instead of the subject.
    """

    def __init__(
        self,
        records: Sequence[Record],
        tokenizer: SubjectTokenizer,
        config: TrainConfig,
        num_videos: int,
        make_engine: Callable[[TextRow], Engine],
        *,
        decoding: dict[str, Any] | None = None,
        threshold: float = 0.0,
        other_name: str | None = None,
    ) -> None:
        questions = list(dict.fromkeys(question for record in records for question in record.questions))
        self._prompts = {question: prompt_row(tokenizer, config, question) for question in questions}
        if other_name is not None:
            renamed = tokenizer.encode_plain(other_name)
            self._prompts = {question: rename(row, tokenizer.name_token_id, renamed) for question, row in self._prompts.items()}
        self._num_videos = num_videos
        self.engine = make_engine(self._prompts[questions[0]])
        most = max(len(record.questions) for record in records)
        self._shape = PromptShape(
            num_slots=math.ceil(most / math.ceil(most / _MAX_QUESTIONS_AT_ONCE)),
            length=self.engine.shape_of([list(self._prompts.values())]).length,
        )
        longest = max(len(_answer_tokens(tokenizer, config, question, question.answer)) for question in questions)
        self.options = DecodingOptions(**{"max_new_tokens": longest + _SPARE_TOKENS} | (decoding or {}))
        self._threshold = threshold
        self._yes_id, self._no_id = (int(_answer_tokens(tokenizer, config, questions[0], word)[0]) for word in ("Yes", "No"))

    @property
    def has_odds(self) -> bool:
        """Whether the first token tells "Yes" from "No"."""
        return self._yes_id != self._no_id

    def __call__(self, features: Any, asked: Sequence[Sequence[Question]], seeds: Sequence[Sequence[int]] | None = None) -> Heard:
        """Answers questions about videos.

        Args:
          features: float[V, N, L, D] of at most `num_videos` videos.
          asked: questions about each of them; none where a video fills the batch up only.
          seeds: of each question's draws.
        """
        missing = self._num_videos - len(features)
        if missing:
            features = np.concatenate([features, *itertools.repeat(np.asarray(features[:1]), missing)])
        seen = self.engine.see(features)
        shares = {module: np.asarray(share)[: len(asked)] for module, share in seen.gate_shares.items()}
        return Heard(self._answers(seen, asked, seeds), shares)

    def _answers(self, seen: Seen, asked: Sequence[Sequence[Question]], seeds: Sequence[Sequence[int]] | None) -> list[list[Said]]:
        at_once = self._shape.num_slots
        said: list[list[Said]] = [[] for _ in asked]
        filling = list(itertools.repeat((), self._num_videos - len(asked)))
        for start in range(0, max(map(len, asked)), at_once):
            rows = [[self._prompts[question] for question in of_video[start : start + at_once]] for of_video in asked]
            prompts = self.engine.ask(seen, [*rows, *filling], self._shape)
            logits, log_odds = _decide_first(prompts.logits, self._threshold, self._yes_id, self._no_id)
            own = None if seeds is None else [of_video[start : start + at_once] for of_video in seeds]
            replies = self.engine.answer(prompts.with_logits(logits), self.options, own)
            for video, odds in enumerate(np.asarray(log_odds).reshape(-1, at_once)[: len(asked)]):
                pairs = zip(replies[video], odds, strict=False)
                said[video].extend(Said(reply.text.strip(), float(value), reply.is_complete) for reply, value in pairs)
        return said


def to_answers(record: Record, said: Sequence[Said], *, has_odds: bool) -> Iterator[Answer]:
    """One answer for each question of `record`, in their order."""
    for question, (text, odds, _) in zip(record.questions, said, strict=True):
        is_scored = has_odds and question.type == "existence" and math.isfinite(odds)
        yield as_answer(record, question, text, round(odds, 4) if is_scored else None)


def rename(row: TextRow, name_id: int, ids: Sequence[int]) -> TextRow:
    """The row with the tokens `ids` wherever the name's token `name_id` stands in its text."""
    stays = (row.input_ids != name_id) | row.video_mask
    times = np.where(stays, 1, len(ids))
    result = TextRow(*(np.repeat(array, times) for array in row))
    result.input_ids[~np.repeat(stays, times)] = np.tile(np.asarray(ids, row.input_ids.dtype), int(np.sum(~stays)))
    return result


def prompt_row(tokenizer: SubjectTokenizer, config: TrainConfig, question: Question) -> TextRow:
    """The conversation up to where the answer to `question` starts."""
    return _row(build_prompt_row, tokenizer, config, question)


@jax.jit
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
