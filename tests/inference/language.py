"""A decoder of `transformers`, ours with the same weights inside a PVChat, and prompts for both."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from pvchat_jax.inference.decoder import Decoder, Prompts, State
from pvchat_jax.inference.options import DecodingOptions, stack_controls
from pvchat_jax.models.config import TINY, LoRAConfig, MistralConfig
from pvchat_jax.models.mistral import KeyValues
from pvchat_jax.models.pvchat import PVChat, build_pvchat
from tests.models.mistral_pair import hugging_face, our_params

LANGUAGE = MistralConfig(
    vocab_size=50,
    num_added_tokens=0,
    width=32,
    mlp_width=56,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    lora=LoRAConfig(rank=0),
)
VIDEOS, VISUAL, OPENING, CAPACITY = 2, 5, 8, 12
LENGTHS = ((3, 7, 5), (6, 1, 4))  # of the prompts about each video


class Pair(NamedTuple):
    """The two models, and visual tokens float32[VIDEOS, VISUAL, H] that neither has to make."""

    theirs: Any
    model: PVChat
    params: dict
    visual: np.ndarray


def make_pair(config: MistralConfig = LANGUAGE) -> Pair:
    """With weights so large that likelihoods differ, and tokens do."""
    import torch

    theirs = hugging_face(config)
    generator = torch.Generator().manual_seed(5)
    for name, weight in theirs.named_parameters():
        if "norm" not in name:
            weight.data.normal_(0, 0.35, generator=generator)
    qformer = dataclasses.replace(TINY.qformer, num_extra_query_tokens=0, num_subject_tokens=0)
    model = build_pvchat(dataclasses.replace(TINY, qformer=qformer, language_model=config))
    params = {  # as `Engine` gives them
        "language_model": our_params(theirs.state_dict(), config),
        "query_tokens": np.zeros((qformer.num_query_tokens, qformer.width), np.float32),
    }
    visual = np.random.default_rng(1).normal(0, 0.35, (VIDEOS, VISUAL, config.width)).astype(np.float32)
    return Pair(theirs, model, model.unstack(params), visual)


def opening() -> tuple[np.ndarray, np.ndarray]:
    """Ids int[OPENING] and which of them are visual."""
    ids, is_visual = np.arange(OPENING) + 30, np.zeros(OPENING, bool)
    is_visual[2 : 2 + VISUAL] = True
    return ids, is_visual


def prompts() -> tuple[np.ndarray, np.ndarray]:
    """Rows int[VIDEOS * 3, 7] padded on the right, with their lengths."""
    lengths = np.array(LENGTHS, np.int32).reshape(-1)
    return np.random.default_rng(2).integers(0, LANGUAGE.vocab_size, (len(lengths), lengths.max())), lengths


def their_inputs(pair: Pair, row: int) -> Any:
    """One unpadded row as the original feeds it: torch float32[1, L, H]."""
    import torch

    table = pair.theirs.get_input_embeddings().weight.detach()
    ids, is_visual = opening()
    before = table[torch.tensor(ids)]
    before[torch.tensor(is_visual)] = torch.tensor(pair.visual[row // len(LENGTHS[0])])
    tokens, lengths = prompts()
    return torch.cat([before, table[torch.tensor(tokens[row, : lengths[row]])]])[None]


def their_answer(pair: Pair, row: int, eos_id: int, **options: Any) -> np.ndarray:
    """Tokens int[CAPACITY] that `generate` gives, filled up with EOS."""
    import torch

    inputs = their_inputs(pair, row)
    mask = torch.ones(inputs.shape[:2], dtype=torch.long)
    common = {"do_sample": False, "max_new_tokens": CAPACITY, "eos_token_id": eos_id, "pad_token_id": eos_id}
    ids = pair.theirs.generate(inputs_embeds=inputs, attention_mask=mask, **{**common, **options})[0].numpy()
    return np.pad(ids, (0, CAPACITY - len(ids)), constant_values=eos_id)


def read(pair: Pair, decoder: Decoder) -> tuple[KeyValues, Prompts]:
    """Prefix and prompts of all rows."""
    prefix = decoder.read_prefix(pair.params, pair.visual, *opening())
    return prefix, decoder.read_prompts(pair.params, prefix, *prompts())


def decode(pair: Pair, decoder: Decoder, options: Sequence[DecodingOptions]) -> State:
    """All rows to their ends, each with its own options."""
    prefix, asked = read(pair, decoder)
    controls = stack_controls(options)
    state = decoder.begin(asked, np.ones(len(options), bool), controls, num_beams=options[0].num_beams, capacity=CAPACITY)
    return jax.block_until_ready(decoder.advance(pair.params, prefix, asked, state, controls, CAPACITY))
