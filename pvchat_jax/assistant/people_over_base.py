"""The base model in memory once, and for each person the few tensors that their pack has instead."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import safe_open

from pvchat_jax.config.pack_manifest import TENSORS_FILE
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.conversation import TextRow, build_prompt_row
from pvchat_jax.data.tokenizer import SubjectTokenizer, load_tokenizer
from pvchat_jax.errors import UserError
from pvchat_jax.inference.engine import Engine
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.registry.registry import Base
from pvchat_jax.training.initialise import abstract_params
from pvchat_jax.training.partition import join_params
from pvchat_jax.training.weights import read_safetensors, read_weights, weights_directory, weights_fingerprint


class PeopleOverBase:
    """Engines of people that share the arrays of the base and all compiled programs.

    Args:
      packs: of the people who are there at first; what each of them has instead is not read from the base.
      mesh: where the parameters go.

    Raises:
      UserError: the base is missing, or is not the one that the registry is for.
    """

    def __init__(self, base: Base, packs: Sequence[Path], mesh: jax.sharding.Mesh) -> None:
        self._weights = weights_directory(base.weights)
        if not self._weights.is_dir():
            raise UserError(f"the registry's base {self._weights} does not exist; put it back, or correct `weights` in registry.json.")
        if (found := weights_fingerprint(self._weights)) != base.fingerprint:
            raise UserError(
                f"{self._weights} is another base ({found[:16]}) than the registry's ({base.fingerprint[:16]}); put that one back."
            )
        config = dataclasses.replace(base.config, weights=base.weights)
        model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype))
        self._like = flatten_dict(join_params(*abstract_params(config, model, mesh)), sep="/")
        held = [_tensor_names(pack) for pack in packs]
        self._shared = self._like.keys() - (frozenset.intersection(*held) if held else frozenset())
        read, _ = read_weights(self._weights, self._like, self._shared)
        # Encoding asks for the token tables, which are everybody's own, and does not look at them.
        tables = {name: jnp.zeros(leaf.shape, leaf.dtype) for name, leaf in self._like.items() if "/" not in name}
        tokenizer = load_tokenizer(config.data.tokenizer, [config.data.subject])
        self._engine = Engine(model, unflatten_dict(tables | read, sep="/"), tokenizer, prompt_row(tokenizer, config, "?"))
        self._shared &= read.keys()

    @property
    def engine(self) -> Engine:
        """Encodes videos; it knows nobody."""
        return self._engine

    def put_on(self, pack: Path, tokenizer: SubjectTokenizer) -> Engine:
        """The engine of a person.

        Raises:
          UserError: the pack is damaged or lacks something.
        """
        learned, _ = read_safetensors(pack / TENSORS_FILE, self._like, self._like.keys())
        lacking = self._like.keys() - self._shared - learned.keys()
        if lacking:  # a person who came later may have trained less than the others
            more, _ = read_weights(self._weights, self._like, lacking)
            if absent := sorted(lacking - more.keys()):
                raise UserError(f"{pack} lacks {absent[0]}, which the base does not have either; export the pack anew.")
            learned |= more
        return self._engine.with_learned(unflatten_dict(learned, sep="/"), tokenizer)


def prompt_row(tokenizer: SubjectTokenizer, config: TrainConfig, question: str) -> TextRow:
    """A question to the one person of `tokenizer`, as the runs of `config` were asked."""
    return build_prompt_row(
        tokenizer,
        question=question,
        subject=tokenizer.subjects[0],
        num_clips=config.data.num_clips,
        tokens_per_clip=config.model.qformer.num_visual_tokens,
        style=config.data.prompt_style,
    )


def _tensor_names(pack: Path) -> frozenset[str]:
    with safe_open(pack / TENSORS_FILE, framework="numpy") as file:
        return frozenset(file.keys())
