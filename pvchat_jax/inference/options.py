"""How an answer is decoded: as a user asks for it, and as the compiled loop takes it, one number for each row of a batch."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """Greedy by default; the numbers mean what they mean in `transformers`.

    Attributes:
      max_new_tokens: after which an answer is cut off.
      temperature: 0 takes the likeliest token; above it tokens are drawn, from logits divided by it.
      top_k: draws from the likeliest `top_k` tokens only; 0 from all.
      top_p: draws from the fewest likeliest tokens that have this probability together.
      repetition_penalty: divides positive and multiplies negative scores of tokens that the answer already has.
      num_beams: above 1, a beam search; it draws nothing.
      length_penalty: of a beam search: a sequence's score is its log-probability divided by its length to this power.
      stop: texts that end an answer where the first of them begins. A beam search runs on, and its answer is cut.
      seed: of the draws; the same seed draws the same answer whatever else is in the batch.

    Raises:
      UserError: a number is out of its range.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", tuple(self.stop))
        for name, accepts, wanted in _RANGES:
            if not accepts(value := getattr(self, name)):
                raise UserError(f"{name} is {value!r} and must be {wanted}.")
        if self.num_beams > 1 and self.temperature > 0:
            raise UserError(
                f"num_beams is {self.num_beams} and temperature {self.temperature}; beam search draws nothing, so set one only."
            )


_RANGES = (
    ("max_new_tokens", lambda value: value >= 1, "at least 1"),
    ("temperature", lambda value: 0 <= value < math.inf, "0, which takes the likeliest token, or above"),
    ("top_k", lambda value: value >= 0, "0, which draws from all tokens, or above"),
    ("top_p", lambda value: 0 < value <= 1, "above 0 and at most 1"),
    ("repetition_penalty", lambda value: 0 < value < math.inf, "above 0; 1 changes nothing"),
    ("num_beams", lambda value: value >= 1, "at least 1"),
    ("length_penalty", math.isfinite, "a finite number"),
    ("stop", all, "texts that are not empty"),
    ("seed", lambda value: 0 <= value < 2**32, "from 0 to 4294967295"),
)


class Controls(NamedTuple):
    """`DecodingOptions` of R rows: float32[R] or int32[R] each, `seed: uint32[R]`."""

    limit: np.ndarray
    temperature: np.ndarray
    top_k: np.ndarray
    top_p: np.ndarray
    repetition_penalty: np.ndarray
    length_penalty: np.ndarray
    seed: np.ndarray


def stack_controls(options: Sequence[DecodingOptions]) -> Controls:
    """One row for each of `options`."""

    def column(name: str, dtype: type = np.float32) -> np.ndarray:
        return np.array([getattr(one, name) for one in options], dtype)

    return Controls(
        limit=column("max_new_tokens", np.int32),
        temperature=column("temperature"),
        top_k=column("top_k", np.int32),
        top_p=column("top_p"),
        repetition_penalty=column("repetition_penalty"),
        length_penalty=column("length_penalty"),
        seed=column("seed", np.uint32),
    )
