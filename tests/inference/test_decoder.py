"""Tokens are those of `transformers`' generate on the same weights, and those that the original recorded."""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.inference.decoder import Decoder
from pvchat_jax.inference.options import DecodingOptions, stack_controls
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh, mesh_context
from tests import golden_sets
from tests.inference.language import (
    CAPACITY,
    LANGUAGE,
    LENGTHS,
    Pair,
    decode,
    make_pair,
    opening,
    prompts,
    read,
    their_answer,
    their_inputs,
)

NUM_ROWS = sum(map(len, LENGTHS))


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair()


@functools.cache
def eos_of() -> int:
    """A token that some greedy answers come to soon and others do not."""
    pair = make_pair()
    answers = np.stack([their_answer(pair, row, eos_id=-1) for row in range(NUM_ROWS)])
    ends = {token: [np.flatnonzero(row == token)[:1].tolist() for row in answers] for token in set(answers.flatten().tolist())}
    return max(ends, key=lambda token: len({tuple(end) for end in ends[token]}))


@pytest.fixture(scope="module")
def decoder(pair: Pair) -> Decoder:
    return Decoder(pair.model, eos_of())


def options(**changes: object) -> list[DecodingOptions]:
    return [DecodingOptions(max_new_tokens=CAPACITY, **changes)] * NUM_ROWS


@pytest.mark.parametrize("penalty", [1.0, 1.6])
def test_greedy_answers_are_those_of_transformers(pair: Pair, decoder: Decoder, penalty: float) -> None:
    expected = [their_answer(pair, row, eos_of(), repetition_penalty=penalty) for row in range(NUM_ROWS)]
    lengths = {int(np.argmax(np.append(row, eos_of()) == eos_of())) for row in expected}
    assert len(lengths) > 1, "choose another seed: these answers all have the same length"
    np.testing.assert_array_equal(decode(pair, decoder, options(repetition_penalty=penalty)).answers, expected)


@pytest.mark.parametrize(("length_penalty", "penalty"), [(1.0, 1.0), (0.0, 1.0), (2.0, 1.3)])
def test_five_beams_answer_as_in_transformers(pair: Pair, decoder: Decoder, length_penalty: float, penalty: float) -> None:
    wanted = {"num_beams": 5, "length_penalty": length_penalty, "repetition_penalty": penalty}
    expected = [their_answer(pair, row, eos_of(), **wanted) for row in range(NUM_ROWS)]
    np.testing.assert_array_equal(decode(pair, decoder, options(**wanted)).answers, expected)


@pytest.mark.slow
def test_a_sliding_window_reaches_over_prefix_prompt_and_answer() -> None:
    pair = make_pair(dataclasses.replace(LANGUAGE, sliding_window=6))
    expected = [their_answer(pair, row, eos_of()) for row in range(NUM_ROWS)]
    np.testing.assert_array_equal(decode(pair, Decoder(pair.model, eos_of()), options()).answers, expected)


def test_rows_have_limits_of_their_own_and_padding_says_nothing(pair: Pair, decoder: Decoder) -> None:
    prefix, asked = read(pair, decoder)
    whole = np.asarray(decode(pair, decoder, options()).answers)
    limits = [DecodingOptions(max_new_tokens=limit) for limit in (3, 1, CAPACITY, 5, 4, 2)]
    controls, active = stack_controls(limits), np.array([True, True, True, True, True, False])
    state = decoder.begin(asked, active, controls, num_beams=1, capacity=CAPACITY)
    for _ in range(CAPACITY):  # in steps of one, as a stream advances
        state = decoder.advance(pair.params, prefix, asked, state, controls, 1)
    for row, limit in enumerate(limits):
        expected = np.where(np.arange(CAPACITY) < limit.max_new_tokens * active[row], whole[row], eos_of())
        np.testing.assert_array_equal(state.answers[row], expected)


def test_a_row_draws_the_same_whatever_is_beside_it(pair: Pair, decoder: Decoder) -> None:
    """Row 4 draws in both batches, greedy rows in the first alone, and among the rows of the second some draw too."""
    drawing = DecodingOptions(max_new_tokens=CAPACITY, temperature=1.5, top_k=9, seed=12)
    others = [options()[0]] * 4
    first = decode(pair, decoder, [*others, drawing, *others[:1]]).answers
    mixed = [dataclasses.replace(drawing, seed=seed) for seed in range(4)]
    second = decode(pair, decoder, [*mixed, drawing, drawing]).answers
    greedy = decode(pair, decoder, options()).answers
    np.testing.assert_array_equal(first[4], second[4])
    np.testing.assert_array_equal(first[:4], greedy[:4])
    assert not np.array_equal(first[4], greedy[4])


@pytest.mark.slow
def test_answers_of_two_tokens_are_drawn_with_their_probability(pair: Pair) -> None:
    """2,000 draws against the exact distribution of `transformers`' model, which has 36 outcomes with top_k 6."""
    import torch

    draws, row, top_k, temperature = 2000, 1, 6, 2.0
    inputs, table = their_inputs(pair, row), pair.theirs.get_input_embeddings().weight.detach()

    def distribution(ids: list[int]) -> dict[int, float]:
        with torch.no_grad():
            embeddings = torch.cat([inputs, table[torch.tensor(ids, dtype=torch.long)][None]], dim=1)
            best = pair.theirs(inputs_embeds=embeddings).logits[0, -1].topk(top_k)
        return dict(zip(best.indices.tolist(), (best.values / temperature).softmax(-1).tolist(), strict=True))

    expected = {(a, b): p * q for a, p in distribution([]).items() for b, q in distribution([a]).items()}
    decoder = Decoder(pair.model, eos_id=-1)
    prefix = decoder.read_prefix(pair.params, pair.visual[:1], *opening())
    ids, lengths = prompts()
    ids = np.tile(ids[row, : lengths[row]], (draws, 1))
    asked = decoder.read_prompts(pair.params, prefix, ids, np.full(draws, ids.shape[1], np.int32))
    drawing = DecodingOptions(max_new_tokens=2, temperature=temperature, top_k=top_k)
    controls = stack_controls([dataclasses.replace(drawing, seed=seed) for seed in range(draws)])
    state = decoder.begin(asked, np.ones(draws, bool), controls, num_beams=1, capacity=2)
    drawn = np.asarray(decoder.advance(pair.params, prefix, asked, state, controls, 2).answers)
    counts = collections.Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= set(expected)
    likely = [pair for pair, probability in expected.items() if probability * draws >= 5]
    rest = 1 - sum(expected[pair] for pair in likely)
    observed = [*(counts[pair] for pair in likely), draws - sum(counts[pair] for pair in likely)]
    wanted = [*(expected[pair] * draws for pair in likely), rest * draws]
    assert len(likely) > 15 and stats.chisquare(observed, wanted).pvalue > 1e-3


@pytest.mark.slow
def test_a_mesh_changes_no_token_and_splits_the_cache(pair: Pair, decoder: Decoder) -> None:
    expected = decode(pair, decoder, options(num_beams=5)).answers
    mesh = make_mesh(MeshConfig(data=2, fsdp=1, tensor=2), jax.devices()[:4])
    with mesh_context(mesh):
        state = decode(pair, Decoder(pair.model, eos_of()), options(num_beams=5))
    np.testing.assert_array_equal(state.answers, expected)
    layers, rows, capacity, beams, heads, width = state.cache.key.shape
    assert state.cache.key.addressable_shards[0].data.shape == (layers, rows // 2, capacity, beams, heads // 2, width)


@pytest.mark.parametrize("name", golden_sets.NAMES)
def test_what_the_original_generated(name: str) -> None:
    golden = golden_sets.load(name)
    length = int(golden.io["gen/prompt_len"])
    ids, in_video = golden.io["in/input_ids"][0, :length], golden.io["in/video_idx"][0, :length].astype(bool)
    visual = golden.io["vid/project_up_out"]
    visual = visual.reshape(len(golden.io["in/input_ids"]), -1, visual.shape[-1])[:1]
    start = int(np.flatnonzero(in_video)[-1]) + 1
    model = build_pvchat(golden.config)
    decoder, params = Decoder(model, eos_id=2), model.unstack(jax.tree.map(jnp.asarray, golden.params))
    prefix = decoder.read_prefix(params, visual, ids[:start], in_video[:start])
    asked = decoder.read_prompts(params, prefix, ids[None, start:], np.array([length - start], np.int32))
    for recorded, num_beams in (("gen/greedy_ids", 1), ("gen/beam5_ids", 5)):
        expected = golden.io[recorded]
        capacity = expected.shape[1]
        controls = stack_controls([DecodingOptions(max_new_tokens=capacity, num_beams=num_beams)])
        state = decoder.begin(asked, np.ones(1, bool), controls, num_beams=num_beams, capacity=capacity)
        state = decoder.advance(params, prefix, asked, state, controls, capacity)
        np.testing.assert_array_equal(state.answers, expected)
