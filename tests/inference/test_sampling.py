"""Tokens are drawn from the distributions that `transformers`' processors make of the same logits."""

import jax
import numpy as np
import pytest
from scipy import stats

from pvchat_jax.inference.options import DecodingOptions, stack_controls
from pvchat_jax.inference.sampling import next_tokens

VOCABULARY, DRAWS = 12, 4000
SAID = [3, 7, 3]
CASES = (
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 1.3, "top_k": 4},
    {"temperature": 1.0, "top_p": 0.7},
    {"temperature": 1.5, "top_k": 8, "top_p": 0.8, "repetition_penalty": 1.7},
)


def their_probabilities(logits: np.ndarray, case: dict) -> np.ndarray:
    import torch
    from transformers.generation.logits_process import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(case.get("repetition_penalty", 1.0))])
    processors.append(TemperatureLogitsWarper(case["temperature"]))
    if "top_k" in case:
        processors.append(TopKLogitsWarper(case["top_k"]))
    if "top_p" in case:
        processors.append(TopPLogitsWarper(case["top_p"]))
    return processors(torch.tensor([SAID]), torch.tensor(logits)[None]).softmax(-1)[0].double().numpy()


def test_every_case_draws_as_transformers_would() -> None:
    logits = np.random.default_rng(3).normal(0, 0.7, VOCABULARY).astype(np.float32)
    tokens = np.tile([*SAID, 5, 5], (DRAWS, 1))  # of which three were chosen
    step = np.full(DRAWS, len(SAID))
    draw = jax.jit(next_tokens)
    for number, case in enumerate(CASES):
        controls = stack_controls([DecodingOptions(**case, seed=number * DRAWS + seed) for seed in range(DRAWS)])
        counts = np.bincount(draw(np.tile(logits, (DRAWS, 1)), tokens, step, controls), minlength=VOCABULARY)
        expected = their_probabilities(logits, case)
        possible = expected > 0
        assert counts[~possible].sum() == 0, case
        expected *= DRAWS / expected.sum()
        assert possible.sum() > 2
        assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-3, case


@pytest.mark.parametrize("step", [0, 1])
def test_seed_and_step_decide_the_draw(step: int) -> None:
    logits, tokens = np.zeros((2, 1000), np.float32), np.zeros((2, 4), np.int32)
    controls = stack_controls([DecodingOptions(temperature=1.0, seed=seed) for seed in (5, 6)])
    first, second = (np.asarray(jax.jit(next_tokens)(logits, tokens, np.full(2, number), controls)) for number in (step, step + 1))
    assert first[0] != first[1] and first[0] != second[0]
