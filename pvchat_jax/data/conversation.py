"""A question about a video, with or without its answer, as one row of token ids (docs/reference.md section 5).

The text around N clips, where `...` stands for the positions that the language model fills with visual features:

    [INST] <Video>...</Video><Video>...</Video>[/INST] [INST][<Wilson>]question[/INST]answer</s>

Two styles write it. `reference` repeats the original: each piece between visual positions is tokenised by itself
with its own BOS and cut at 512 tokens, and the labels start after the second `[/INST]` that turns up among the ids.
`pvchat` has one BOS at the start, encodes question and answer as plain text, and knows where the answer starts.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pvchat_jax.config.schema import PROMPT_STYLES
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.errors import UserError

IGNORED_LABEL = -100
MAX_PIECE_LENGTH = 512  # of the reference style, BOS included

_TURN_END = "[/INST]"
_END = "</s>"


class TextRow(NamedTuple):
    """One unpadded row of S positions.

    Attributes:
      input_ids: int32[S]; 0 at visual positions.
      attention_mask: bool[S].
      labels: int32[S], not shifted; -100 where nothing is learnt.
      video_mask: bool[S]; True at visual positions, clip by clip.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    labels: np.ndarray
    video_mask: np.ndarray


def build_training_row(
    tokenizer: SubjectTokenizer,
    *,
    question: str,
    answer: str,
    subject: str,
    num_clips: int,
    tokens_per_clip: int,
    style: str,
    prompt_name: str | None = None,
) -> TextRow:
    """The whole conversation; the answer and the end token are to be learnt.

    Args:
      tokenizer: knows `subject` as one token.
      question: free text. answer: free text.
      subject: the name in square brackets before the question.
      num_clips: N >= 1. tokens_per_clip: visual positions of each clip.
      style: one of `config.schema.PROMPT_STYLES`.
      prompt_name: written instead of `subject`, in `reference` style only. The original wrote the stem of its
        JSON file there: `<Ye>_short_train` in stage 1, `<Ye>test` in tests (docs/reference.md, finding k).

    Raises:
      UserError: the text cannot be written in this style with this tokenizer.
    """
    return _build_row(tokenizer, question, answer, subject, num_clips, tokens_per_clip, style, prompt_name)


def build_prompt_row(
    tokenizer: SubjectTokenizer,
    *,
    question: str,
    subject: str,
    num_clips: int,
    tokens_per_clip: int,
    style: str,
    prompt_name: str | None = None,
) -> TextRow:
    """The conversation up to where the answer starts; all labels are -100. See `build_training_row`."""
    return _build_row(tokenizer, question, None, subject, num_clips, tokens_per_clip, style, prompt_name)


def pad_row(row: TextRow, length: int) -> TextRow:
    """Pads on the right to `length` positions with id 0, label -100 and masks False.

    Raises:
      UserError: the row is longer.
    """
    missing = length - len(row.input_ids)
    if missing < 0:
        raise UserError(f"a text row has {len(row.input_ids)} tokens but data.text_buckets ends at {length}; add a larger bucket.")
    fills = TextRow(0, False, IGNORED_LABEL, False)
    return TextRow(*(np.pad(array, (0, missing), constant_values=fill) for array, fill in zip(row, fills, strict=True)))


def common_prefix_length(rows: Iterable[TextRow]) -> int:
    """How many positions all rows begin with alike, all visual ones among them; 0 if these are not all among them.

    At least one position of each prompt is left out, so that every answer's first token is predicted after the prefix.
    """
    first, *others = rows
    common = min(_prompt_length(row) for row in (first, *others)) - 1
    for row in others:
        differs = (first.input_ids[:common] != row.input_ids[:common]) | (first.video_mask[:common] != row.video_mask[:common])
        common = int(np.argmax(differs)) if differs.any() else common
    return 0 if first.video_mask[common:].any() else common


def _prompt_length(row: TextRow) -> int:
    """Positions before the answer."""
    learnt = row.labels != IGNORED_LABEL
    return int(np.argmax(learnt)) if learnt.any() else len(learnt)


def num_learnt(rows: Iterable[TextRow]) -> int:
    """Tokens to be learnt in the row with the most of them."""
    return max(int(np.sum(row.labels[1:] != IGNORED_LABEL)) for row in rows)


def answer_positions(labels: np.ndarray, count: int) -> np.ndarray:
    """Where the next token is to be learnt: int32[..., count] from labels int[..., S].

    Rows that learn fewer tokens are filled up with S - 1, after which nothing is learnt.

    Raises:
      ValueError: a row learns more than `count` tokens.
    """
    learnt = np.append(labels[..., 1:] != IGNORED_LABEL, np.zeros((*labels.shape[:-1], 1), bool), axis=-1)
    if np.max(learnt.sum(-1)) > count:
        raise ValueError(f"a row learns {np.max(learnt.sum(-1))} tokens, more than {count}")
    first = np.argsort(~learnt, axis=-1, kind="stable")[..., :count]  # positions that learn come first, in order
    return np.where(np.take_along_axis(learnt, first, axis=-1), first, labels.shape[-1] - 1).astype(np.int32)


def reference_pieces(*, question: str, answer: str | None, prompt_name: str, num_clips: int) -> list[str]:
    """The num_clips + 1 strings that the reference gives to its tokenizer one by one."""
    ending = "" if answer is None else f"{answer}{_END}"
    between = ["</Video><Video>"] * (num_clips - 1)
    return ["[INST] <Video>", *between, f"</Video>[/INST] [INST][{prompt_name}]{question}{_TURN_END}{ending}"]


def _build_row(
    tokenizer: SubjectTokenizer,
    question: str,
    answer: str | None,
    subject: str,
    num_clips: int,
    tokens_per_clip: int,
    style: str,
    prompt_name: str | None,
) -> TextRow:
    if style not in PROMPT_STYLES:
        raise ValueError(f"style '{style}' is not one of {PROMPT_STYLES}")
    if num_clips < 1 or tokens_per_clip < 1:
        raise ValueError(f"num_clips {num_clips} and tokens_per_clip {tokens_per_clip} must be at least 1")
    if style == "reference":
        pieces = _reference_ids(tokenizer, question, answer, prompt_name or subject, num_clips)
        row = _interleave(pieces, tokens_per_clip)
        answer_start = len(row.input_ids) if answer is None else _after_second_turn_end(tokenizer, row.input_ids, question)
    else:
        if prompt_name is not None:
            raise ValueError("prompt_name belongs to style 'reference'; style 'pvchat' writes the subject's own name")
        pieces, answer_ids = _pvchat_ids(tokenizer, question, answer, subject, num_clips)
        row = _interleave([*pieces[:-1], pieces[-1] + answer_ids], tokens_per_clip)
        answer_start = len(row.input_ids) - len(answer_ids)
    learnt = np.arange(len(row.input_ids)) >= answer_start  # visual positions come earlier
    return row._replace(labels=np.where(learnt, row.input_ids, IGNORED_LABEL).astype(np.int32))


def _reference_ids(tokenizer: SubjectTokenizer, question: str, answer: str | None, prompt_name: str, num_clips: int) -> list[list[int]]:
    for text in (_TURN_END, _END):
        if len(tokenizer.encode(text, add_bos=False)) != 1:
            raise UserError(
                f"data.prompt_style 'reference' needs a tokenizer in which '{text}' is one token; set data.prompt_style to 'pvchat'."
            )
    pieces = reference_pieces(question=question, answer=answer, prompt_name=prompt_name, num_clips=num_clips)
    return [tokenizer.encode(piece, add_bos=True)[:MAX_PIECE_LENGTH] for piece in pieces]


def _after_second_turn_end(tokenizer: SubjectTokenizer, input_ids: np.ndarray, question: str) -> int:
    turn_end = tokenizer.encode(_TURN_END, add_bos=True)[-1]
    positions = np.flatnonzero(input_ids == turn_end)
    if len(positions) < 2:
        raise UserError(f"the question {question[:200]!r} fills all {MAX_PIECE_LENGTH} tokens of its piece; shorten it.")
    return int(positions[1]) + 1


def _pvchat_ids(
    tokenizer: SubjectTokenizer, question: str, answer: str | None, subject: str, num_clips: int
) -> tuple[list[list[int]], list[int]]:
    """The pieces up to where the answer starts, and the answer's ids with the end token.

    Text is cut where the reference has control tokens, which separate words anyway.
    """
    if subject not in tokenizer.subjects:
        raise UserError(
            f"the tokenizer was loaded for {list(tokenizer.subjects)}, not for the subject '{subject}'; load it with that name."
        )
    opening = [tokenizer.bos_id, *tokenizer.encode("[INST] <Video>", add_bos=False)]
    between = tokenizer.encode("</Video><Video>", add_bos=False)
    asking = tokenizer.encode("</Video>[/INST] [INST]", add_bos=False) + tokenizer.encode_plain(f"[{subject}]{question}")
    closing = asking + tokenizer.encode(_TURN_END, add_bos=False)
    answer_ids = [] if answer is None else [*tokenizer.encode_plain(answer), tokenizer.eos_id]
    return [opening, *[between] * (num_clips - 1), closing], answer_ids


def _interleave(pieces: list[list[int]], tokens_per_clip: int) -> TextRow:
    """Puts the visual positions of one clip between each two pieces; labels are yet to be set."""
    ids: list[int] = []
    video: list[bool] = []
    for index, piece in enumerate(pieces):
        if index:
            ids += [0] * tokens_per_clip
            video += [True] * tokens_per_clip
        ids += piece
        video += [False] * len(piece)
    input_ids = np.asarray(ids, np.int32)
    return TextRow(input_ids, np.ones(len(ids), bool), np.full(len(ids), IGNORED_LABEL, np.int32), np.asarray(video, bool))
