"""The model that answers at the moment, and the programs that were compiled for it and for all others of its sizes."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from pvchat_jax.config.run_directory import read_config
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.conversation import TextRow
from pvchat_jax.data.tokenizer import SubjectTokenizer, load_tokenizer
from pvchat_jax.inference.engine import Engine
from pvchat_jax.models.config import impersonal
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import batch_sharding
from pvchat_jax.sweeps.items import ModelKey
from pvchat_jax.training.initialise import LoadedRun, abstract_params, ancestors, base_weights, load_run, starting_params
from pvchat_jax.training.partition import join_params


class Answering(NamedTuple):
    """A loaded model; `engine` makes its engine from the row of any question, or gives the one that was made."""

    config: TrainConfig
    tokenizer: SubjectTokenizer
    engine: Callable[[TextRow], Engine]


class Models:
    """Loads one model at a time; the one before makes room first, and its compiled programs stay."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._key: ModelKey | None = None
        self._loaded: LoadedRun | None = None
        self._engine: Engine | None = None
        self._programs: dict[Hashable, Engine] = {}

    def load(self, key: ModelKey) -> Answering:
        """The model of `key`.

        Raises:
          UserError: it cannot be loaded.
        """
        if key != self._key:
            if self._engine is not None:
                self._engine.release()
            self._key, self._loaded, self._engine = None, None, None
            loaded = load_base(key.run, self.mesh) if key.step is None else load_run(key.run, self.mesh, step=key.step)
            self._loaded, self._key = _of_name(loaded, key.subject), key
        return Answering(self._loaded.config, self._loaded.tokenizer, self._make_engine)

    def _make_engine(self, row: TextRow) -> Engine:
        if self._engine is None:
            _, model, params, tokenizer, _ = self._loaded
            programs = self._programs.get(sizes := self._sizes())
            if programs is None:
                sharding = batch_sharding(self.mesh)
                self._engine = Engine(model, params, tokenizer, row, lambda array: jax.device_put(array, sharding))
            else:
                self._engine = programs.with_parameters(params, tokenizer)
            self._programs[sizes] = self._engine
            self._loaded = self._loaded._replace(params=None)  # the engine has its own
        return self._engine

    def _sizes(self) -> Hashable:
        """What programs and the opening of a conversation depend on."""
        config = self._loaded.config
        data = config.data
        layout = (data.num_clips, data.num_frames, data.prompt_style, self._loaded.tokenizer.directory)
        return (config.model, config.compute_dtype, config.frozen_dtype, *layout)


def _of_name(loaded: LoadedRun, subject: str) -> LoadedRun:
    """The model whose name token stands for `subject`, whoever it was trained on."""
    data = loaded.config.data
    if data.subject == subject:
        return loaded
    config = dataclasses.replace(loaded.config, data=dataclasses.replace(data, subject=subject))
    return loaded._replace(config=config, tokenizer=load_tokenizer(data.tokenizer, [subject]))


def load_base(run: str, mesh: Mesh) -> LoadedRun:
    """The model that a run began with, before anything was learnt about its subject: no subject tokens, no routers, no LoRA.

    Raises:
      UserError: a part of it is missing.
    """
    trained = read_config(run)
    weights = base_weights(trained, ancestors(trained, None))
    config = dataclasses.replace(trained, model=impersonal(trained.model), weights=weights, init_from="")
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype))
    like: Any = join_params(*abstract_params(config, model, mesh))
    params, _ = starting_params(config, model, like, like, ())
    return LoadedRun(config, model, params, load_tokenizer(config.data.tokenizer, [config.data.subject]), 0)
