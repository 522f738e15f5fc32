"""Corpus BLEU with sacrebleu (Post, 2018), in [0, 1].

Sentences add up their matched and possible n-grams and their lengths, so that intervals come from the same sums as the score.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.metrics.metric import SumMetric

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU


def bleu_metric(order: int) -> SumMetric:
    """BLEU with n-grams of up to `order` words: tokenizer 13a, effective order, all questions."""
    _scorer(order)
    return SumMetric(key=f"bleu_{order}", title=f"BLEU-{order}", terms=functools.partial(_terms, order), finish=corpus_bleu, unit="share")


def signature(order: int) -> str:
    """sacrebleu's own description of how it counts."""
    _counts(order, "a", "a")  # it knows the number of references only when it has seen some
    return str(_scorer(order).get_signature())


@functools.cache
def _scorer(order: int) -> "BLEU":
    from sacrebleu.metrics import BLEU  # where it is used, since it takes a while

    return BLEU(max_ngram_order=order, tokenize="13a", effective_order=True)


def _terms(order: int, answer: Answer) -> Sequence[float]:
    return _counts(order, answer.answer, answer.gold)


@functools.lru_cache(maxsize=65536)
def _counts(order: int, said: str, gold: str) -> tuple[float, ...]:
    """Matched n-grams by length, possible ones, and the lengths of answer and gold answer in words."""
    score = _scorer(order).corpus_score([said], [[gold]])
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


def corpus_bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU float[...] from sums float[..., 2 * order + 2] of counts; NaN without questions.

    This is `BLEU.compute_bleu` of sacrebleu for many rows at once, with its exponential smoothing: the n-th length without a match
    counts as 1 / 2^n matches, and lengths longer than every answer do not count.
    """
    order = sums.shape[-1] // 2 - 1
    matched, possible = sums[..., :order], sums[..., order : 2 * order]
    said, gold = sums[..., -2], sums[..., -1]
    exists = np.cumprod(possible > 0, axis=-1)
    unmatched = np.cumsum(exists * (matched == 0), axis=-1)
    smoothed = np.where(matched > 0, matched, 0.5**unmatched)
    logs = np.where(exists, np.log(smoothed / np.maximum(possible, 1)), 0.0).sum(-1) / np.maximum(exists.sum(-1), 1)
    brevity = np.exp(np.minimum(0.0, 1 - gold / np.maximum(said, 1e-12)))
    score = np.where(matched.any(-1), brevity * np.exp(logs), 0.0)
    return np.where(gold + said > 0, score, np.nan)
