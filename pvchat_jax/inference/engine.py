"""Questions about videos in, answers out: batches, buckets and text around the compiled programs of `decoder.py`."""

import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.data.conversation import TextRow
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.inference.buckets import bucket
from pvchat_jax.inference.decoder import Decoder, Prompts, State
from pvchat_jax.inference.options import Controls, DecodingOptions, stack_controls
from pvchat_jax.inference.text import TextStream, cut_at_stop
from pvchat_jax.models.mistral import KeyValues

# Rows are the costlier to pad; lengths vary more, and each compiles a program.
_bucket_rows = functools.partial(bucket, multiple=1, per_doubling=8)
_bucket_tokens = functools.partial(bucket, multiple=8, per_doubling=4)

_STEPS_BETWEEN_LOOKS = 8  # for a stop text, which only the text shows


class Seen(NamedTuple):
    """What answers about B videos start from: the prefix, float[layers, B, P, G, D], and by routed module the shares float32[B, R] of
    a video's (clip, token) pairs whose gate is above zero, for each routed head."""

    prefix: KeyValues
    gate_shares: dict[str, jax.Array]


class PromptShape(NamedTuple):
    """Rows of each video, and tokens of each row after the opening."""

    num_slots: int
    length: int


@dataclasses.dataclass(frozen=True)
class Asked:
    """Prompts of B videos, padded to K for each, of which the video had `counts`; `logits: float32[B * K, V]` are of the first token."""

    seen: Seen
    prompts: Prompts
    counts: tuple[int, ...]

    @property
    def logits(self) -> jax.Array:
        return self.prompts.logits

    def with_logits(self, logits: jax.Array) -> "Asked":
        """The same prompts, of which other first tokens are likely."""
        return dataclasses.replace(self, prompts=self.prompts._replace(logits=logits))

    @property
    def active(self) -> np.ndarray:
        """`bool[B * K]`, False where a row is padding."""
        num_slots = self.prompts.lengths.shape[0] // len(self.counts)
        return (np.arange(num_slots) < np.array(self.counts)[:, None]).reshape(-1)


class Reply(NamedTuple):
    """An answer's text, its tokens without EOS, and whether it ended by itself; otherwise it was cut off after `max_new_tokens`."""

    text: str
    tokens: tuple[int, ...]
    is_complete: bool


class Engine:
    """A model that answers; `with_parameters` makes another of the same sizes without compiling anything.

    Everything is padded to a few sizes (`buckets.py`), and each program compiles once for each size that turns up. The engine holds a
    copy of the language model's weights, block by block.

    Args:
      model: has `apply` with the methods of models/pvchat.py.
      tokenizer: of the model.
      row: a row of any question; all that it has up to its last visual position is what every conversation about a video opens with.
      place: puts an array whose rows belong to videos, or to their questions, on the devices that share the batch; None leaves it to jax.
    """

    def __init__(
        self, model: Any, params: Any, tokenizer: SubjectTokenizer, row: TextRow, place: Callable[[Any], Any] | None = None
    ) -> None:
        self._model = model
        self._params = model.unstack(params)
        self._tokenizer = tokenizer
        self._opening = _opening(row)
        self._place = place or (lambda array: array)
        self._decoder = Decoder(model, tokenizer.eos_id)
        self._encode = make_encoder(model)
        self._look = jax.jit(lambda params, features: _look(model, params, features))

    def with_parameters(self, params: Any, tokenizer: SubjectTokenizer | None = None) -> "Engine":
        """An engine with the same compiled programs and other parameters; `tokenizer` is theirs where they know another name."""
        other = object.__new__(Engine)
        vars(other).update(vars(self), _params=self._model.unstack(params), _tokenizer=tokenizer or self._tokenizer)
        return other

    def with_learned(self, learned: Mapping[str, Any], tokenizer: SubjectTokenizer) -> "Engine":
        """An engine with the same compiled programs, and the very same arrays but for what a person's pack has instead.

        Args:
          learned: the tensors of the pack in the tree of the parameters, as `__init__` takes them.
          tokenizer: of the person.
        """
        other = object.__new__(Engine)
        vars(other).update(vars(self), _params=_put_over(self._params, self._model.unstack(learned)), _tokenizer=tokenizer)
        return other

    def release(self) -> None:
        """Lets go of the parameters, so that there is room for others; only `with_parameters` may be called afterwards."""
        self._params = None

    def encode(self, video: jax.typing.ArrayLike) -> jax.Array:
        """`float[B, N, T, H, W, 3]` of normalised pixels `->` features float[B, N, L, D]."""
        return self._encode(self._params, self._place(video))

    def see(self, features: jax.typing.ArrayLike) -> Seen:
        """What every question about B videos shares, from float[B, N, L, D]: once for all their questions and turns."""
        visual, gate_shares = self._look(self._params, self._place(features))
        prefix = self._decoder.read_prefix(self._params, visual, self._opening.input_ids, self._opening.video_mask)
        return Seen(prefix, gate_shares)

    def shape_of(self, rows: Sequence[Sequence[TextRow]]) -> PromptShape:
        """To what `ask` pads such rows; calls that are given the same shape share one compiled program."""
        longest = max(len(row.input_ids) for of_video in rows for row in of_video) - len(self._opening.input_ids)
        return PromptShape(_bucket_rows(max(map(len, rows))), _bucket_tokens(longest))

    def ask(self, seen: Seen, rows: Sequence[Sequence[TextRow]], shape: PromptShape | None = None) -> Asked:
        """Reads prompts: `rows` of each video of `seen`, of any number and length.

        Raises:
          ValueError: a row does not begin with the opening, or ends with it.
        """
        slots, length = shape or self.shape_of(rows)
        input_ids = np.zeros((len(rows), slots, length), np.int32)
        lengths = np.ones((len(rows), slots), np.int32)  # padding has to attend to something
        for video, of_video in enumerate(rows):
            for slot, row in enumerate(of_video):
                ids = self._after_opening(row)
                input_ids[video, slot, : len(ids)] = ids
                lengths[video, slot] = len(ids)
        ids, ends = self._place(input_ids.reshape(-1, length)), self._place(lengths.reshape(-1))
        read = self._decoder.read_prompts(self._params, seen.prefix, ids, ends)
        return Asked(seen, read, tuple(map(len, rows)))

    def answer(self, asked: Asked, options: DecodingOptions, seeds: Sequence[Sequence[int]] | None = None) -> list[list[Reply]]:
        """Replies by video, in the order in which they were asked.

        Args:
          seeds: of each question by video, which are added to that of `options`; by default its place in the batch.
        """
        state, controls = self._begin(asked, options, seeds)
        if options.stop and options.num_beams == 1:
            while not np.all(state.done):
                state = self._advance(asked, state, controls, _STEPS_BETWEEN_LOOKS)
                state = state._replace(done=state.done | self._has_stopped(state, options.stop))
        else:
            state = self._advance(asked, state, controls, options.max_new_tokens)
        answers = iter(np.asarray(state.answers)[asked.active])
        return [[self.reply_of(next(answers), options) for _ in range(count)] for count in asked.counts]

    def stream(self, asked: Asked, options: DecodingOptions) -> Generator[str, None, Reply]:
        """The one answer's text in pieces, as its tokens are chosen, and the reply as what the generator returns; a beam search has
        nothing to show before its end.

        Raises:
          ValueError: several questions were asked.
        """
        if sum(asked.counts) != 1:
            raise ValueError(f"{sum(asked.counts)} questions were asked, and one answer can be streamed")
        if options.num_beams > 1:
            reply = self.answer(asked, options)[0][0]
            yield reply.text
            return reply
        row = int(np.argmax(asked.active))
        state, controls = self._begin(asked, options)
        stream = self.text_stream(options)
        is_last = False
        while not (is_last or stream.stopped):
            is_last = bool(state.done[row])
            chosen = np.asarray(state.answers)[row, : int(state.step[row])]
            if piece := stream.feed(self.without_end(chosen), is_last=is_last):
                yield piece
            if not is_last:
                state = self._advance(asked, state, controls, 1)
        return self.reply_of(chosen, options)

    def text_stream(self, options: DecodingOptions) -> TextStream:
        """For the text of one answer while its tokens arrive."""
        return TextStream(self._tokenizer.decode, options.stop)

    def begin_one(self, asked: Asked, options: DecodingOptions, capacity: int) -> State:
        """The state of one question after its first token, with room for `capacity` tokens."""
        return self._decoder.begin(asked.prompts, asked.active, stack_controls([options]), num_beams=options.num_beams, capacity=capacity)

    def advance(self, prefix: KeyValues, prompts: Prompts, state: State, controls: Controls, num_steps: int) -> State:
        """The state at most `num_steps` tokens later; `state` itself is used up."""
        return self._decoder.advance(self._params, prefix, prompts, state, controls, num_steps)

    def _begin(self, asked: Asked, options: DecodingOptions, seeds: Sequence[Sequence[int]] | None = None) -> tuple[State, Controls]:
        added = np.arange(asked.prompts.lengths.shape[0], dtype=np.uint64)  # rows with the same question draw different answers
        if seeds is not None:
            added[asked.active] = [seed for of_video in seeds for seed in of_video]
        rows = [dataclasses.replace(options, seed=int(options.seed + more) % 2**32) for more in added]
        controls = jax.tree.map(self._place, stack_controls(rows))
        capacity = _bucket_tokens(options.max_new_tokens)
        begin = self._decoder.begin
        return begin(asked.prompts, self._place(asked.active), controls, num_beams=options.num_beams, capacity=capacity), controls

    def _advance(self, asked: Asked, state: State, controls: Controls, num_steps: int) -> State:
        return self.advance(asked.seen.prefix, asked.prompts, state, controls, num_steps)

    def _after_opening(self, row: TextRow) -> np.ndarray:
        opening = self._opening
        start = len(opening.input_ids)
        same = np.array_equal(row.input_ids[:start], opening.input_ids) and np.array_equal(row.video_mask[:start], opening.video_mask)
        if not same or row.video_mask[start:].any() or len(row.input_ids) == start:
            raise ValueError("a prompt has to continue the opening that all conversations of this engine have")
        return row.input_ids[start:]

    def _has_stopped(self, state: State, stop: Sequence[str]) -> np.ndarray:
        """`bool[R]`, whether a stop text occurred."""
        rows = zip(np.asarray(state.answers), np.asarray(state.step), strict=True)
        return np.array([cut_at_stop(self._tokenizer.decode(self.without_end(ids[:step])), stop)[1] for ids, step in rows])

    def reply_of(self, ids: np.ndarray, options: DecodingOptions) -> Reply:
        """The answer whose tokens are `ids: int[M]`, up to the first EOS."""
        tokens = self.without_end(ids)
        text, is_cut = cut_at_stop(self._tokenizer.decode(tokens), options.stop)
        return Reply(text, tuple(tokens), is_cut or len(tokens) < options.max_new_tokens)

    def without_end(self, ids: np.ndarray) -> list[int]:
        """`ids` up to the first EOS."""
        ended = np.flatnonzero(ids == self._tokenizer.eos_id)
        return ids[: ended[0] if len(ended) else len(ids)].tolist()


def make_encoder(model: Any) -> Any:
    """A jitted function `(params, video float[B, N, T, H, W, 3]) -> features float[B, N, L, D]`."""
    return jax.jit(lambda params, video: model.apply({"params": params}, video, method="encode_video"))


def _look(model: Any, params: Any, features: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Visual tokens float[B, M, H] and gate shares float32[B, R] by routed module, from features float[B, N, L, D]."""
    batch = features.shape[0]
    output = model.apply({"params": params}, features, method="query")
    visual = model.apply({"params": params}, output.queries, batch, method="visual_tokens")
    shares = {
        module: jnp.mean(routed.gates.reshape(batch, -1, routed.gates.shape[-1]) > 0, axis=1) for module, routed in output.routing.items()
    }
    return visual, shares


def _put_over(under: Any, over: Any) -> Any:
    """The tree `under` with the leaves of `over` beside its own, or instead of them."""
    if not isinstance(over, Mapping):
        return over
    return {**under, **{name: _put_over(under.get(name, {}), child) for name, child in over.items()}}


def _opening(row: TextRow) -> TextRow:
    end = int(np.flatnonzero(row.video_mask)[-1]) + 1
    return TextRow(*(array[:end] for array in row))
