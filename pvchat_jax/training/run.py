"""One training run put together: data, model, start, loop."""

import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import absl.logging
import jax
import jax.numpy as jnp
from rich.console import Console

from pvchat_jax.config.flags import flatten
from pvchat_jax.config.run_directory import CHECKPOINTS, check_output_dir, write_config
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.pipeline import DatasetRows, dataset_rows, make_train_iterator, probe_videos, select_records
from pvchat_jax.data.record_files import load_records
from pvchat_jax.data.records import Record
from pvchat_jax.data.tokenizer import load_tokenizer
from pvchat_jax.distributed.membership import require_same_everywhere
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.feature_cache import check_cacheable, stored_features
from pvchat_jax.training.initialise import initialise
from pvchat_jax.training.loop import Outputs, train
from pvchat_jax.training.metrics import MetricsWriter, ProgressReport
from pvchat_jax.training.partition import join_params
from pvchat_jax.training.step import make_train_step
from pvchat_jax.training.summary import describe_end, print_start

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain")


class TrainingData(NamedTuple):
    """What is trained on; `set_aside` are videos that cannot be read, each with the reason."""

    records: list[Record]
    set_aside: Sequence[tuple[Record, str]]
    text: DatasetRows


def train_run(config: TrainConfig) -> Path:
    """Trains, or continues, the run that `config` describes and returns its directory.

    Raises:
      UserError: something the user can mend; found before training where possible.
      Interrupted: a signal came and everything was saved.
    """
    absl.logging.set_verbosity(absl.logging.FATAL)  # Orbax logs the tracebacks of errors that it also raises
    is_first = jax.process_index() == 0
    console = Console(quiet=not is_first)
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    check_output_dir(config)
    check_cacheable(config)
    say("reading the records and preparing the model")
    data = load_data(config)
    described = describe_records(config, data)
    require_same_everywhere(f"the usable records of {config.data.train}", described)
    mesh = make_mesh(config.mesh)
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype), prefix_length=data.text.prefix_length)
    step_fn = make_train_step(model, config, mesh)
    process = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    output = Path(config.output_dir)
    iterator = make_train_iterator(config, data.records, data.text, **process)

    checkpoints = Checkpoints(output / CHECKPOINTS, keep=config.checkpoint.keep, report=say)
    must_match = {"batch size": config.data.batch_size, "records": described}
    start = initialise(config, model, mesh, checkpoints, iterator, must_match)
    done = int(start.state.step)
    print_start(console, config, mesh, start, data.records, data.set_aside, data.text)
    meta = {"must_match": must_match, "init_from_steps": start.init_from_steps, "versions": package_versions()}
    if is_first:
        write_config(config)
    with stored_features(config, model, join_params(start.state.trainable, start.frozen), data.records, mesh, console) as stored:
        iterator.use_stored(stored)
        metrics = MetricsWriter(output, done + 1, config.tracking, flatten(config)) if is_first else None
        progress = ProgressReport(console, done, config.num_steps)
        try:
            train(config, step_fn, start.state, start.frozen, iterator, mesh, Outputs(checkpoints, metrics, progress, meta))
        finally:
            progress.close()
            iterator.close()
            if metrics is not None:
                metrics.close()
            checkpoints.close()
    say(describe_end(config))
    return output


def load_data(config: TrainConfig) -> TrainingData:
    """Usable records and their text rows.

    Raises:
      UserError: a file is wrong, no record is usable, or the tokenizer is not the one of the model.
    """
    tokenizer = load_tokenizer(config.data.tokenizer, [config.data.subject])
    rows = config.model.language_model.vocab_size
    if tokenizer.vocab_size != rows:
        raise UserError(
            f"the tokenizer in {tokenizer.directory} has {tokenizer.vocab_size} tokens and the model {rows}; "
            "set --config.data.tokenizer to the model's own, or --config.model.language_model.vocab_size."
        )
    good, bad = probe_videos(load_records(Path(config.data.train), config.data.subject))
    if not good:
        raise UserError(f"none of the {len(bad)} videos of {config.data.train} can be read; the first: {bad[0][1]}")
    records = select_records(config.data, good)
    return TrainingData(records, bad, dataset_rows(config, records, tokenizer))


def describe_records(config: TrainConfig, data: TrainingData) -> str:
    """What is trained on, in few words and exactly; the data position in a checkpoint means nothing for other records."""
    folder = Path(config.data.train).absolute().parent
    parts = [(os.path.relpath(record.video, folder), record.role, record.questions) for record in data.records]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return f"{len(data.records)} videos with {sum(len(record.questions) for record in data.records)} questions (sha256 {digest[:16]})"


def package_versions() -> dict[str, Any]:
    """Versions that a checkpoint was written with, for whoever has to find out why it behaves as it does."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
