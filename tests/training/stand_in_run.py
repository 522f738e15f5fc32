"""A training run of the stand-in model: everything around the model is real, and a step compiles in a second.

`python -m tests.training.stand_in_run ARGUMENTS` is `python -m pvchat_jax.train ARGUMENTS` with this model. With the
environment variable DIE_AT_STEP it kills itself, as `kill -9` would, when the numbers of that step have been written.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import grain
import jax
import numpy as np
from flax.core import meta

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.sharding import make_mesh, param_shardings
from pvchat_jax.training import initialise, pack_export, run
from pvchat_jax.training.metrics import MetricsWriter
from pvchat_jax.training.partition import split_params, trainable_groups
from pvchat_jax.training.state import TrainState, create_train_state
from tests.training import stand_in
from tests.training.stand_in import StandIn, make_batch, make_config

_QFORMER = make_config().model.qformer
# Turns the tiny preset into one that starts from the seed, and whose routed modules are the stand-in's.
OVERRIDES = (
    "--config.weights=",
    "--config.data.cache_features=False",
    f"--config.model.qformer.num_layers={_QFORMER.num_layers}",
    f"--config.model.qformer.remoh.start_layer={_QFORMER.remoh.start_layer}",
    f"--config.model.qformer.remoh.num_shared_heads={_QFORMER.remoh.num_shared_heads}",
)


def init_boxed(model: StandIn, config, key: jax.Array) -> dict:
    """The stand-in's parameters, shifted by an amount that follows from the key."""
    shift = (jax.random.key_data(key)[-1] % 1000).astype(np.float32) / 1000
    boxed = model.init_boxed()
    return jax.tree.map(lambda box: box.replace_boxed(box.value + shift), boxed, is_leaf=lambda node: isinstance(node, meta.AxisMetadata))


@contextmanager
def stand_in_model() -> Iterator[None]:
    """Within it, runs are made of the stand-in, with a row for each token of the tiny tokenizer."""
    with (
        mock.patch.object(stand_in, "VOCAB", 681),
        mock.patch.object(initialise, "init_boxed", init_boxed),
        mock.patch.object(initialise, "build_pvchat", lambda config, dtype: StandIn()),
        mock.patch.object(run, "build_pvchat", lambda config, dtype, prefix_length: StandIn()),
        mock.patch.object(pack_export, "build_pvchat", lambda config, dtype: StandIn()),
    ):
        yield


def params_of(config: TrainConfig, mesh: jax.sharding.Mesh, seed: int) -> dict:
    """All parameters of the stand-in, placed on `mesh`."""
    boxed = init_boxed(StandIn(), config.model, jax.random.key(seed))
    return jax.device_put(meta.unbox(boxed), param_shardings(boxed, mesh))


def make_state(config: TrainConfig, seed: int = 0) -> tuple[TrainState, dict, jax.sharding.Mesh]:
    """State before the first step, frozen parameters and the mesh."""
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    trainable, frozen = split_params(params_of(config, mesh, seed), trainable_groups(config.optimizer))
    return create_train_state(trainable, config, mesh), frozen, mesh


def make_batches() -> grain.DatasetIterator:
    """An endless iterator over batches of the stand-in that differ."""
    return iter(grain.MapDataset.range(1000).map(make_batch).repeat().to_iter_dataset(grain.ReadOptions(num_threads=1)))


def leaves(tree) -> dict[str, np.ndarray]:
    """Path to value, on the host."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.array(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}


def assert_equal(actual, expected) -> None:
    """Every leaf is equal bit for bit."""
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    assert [name for name in expected if actual[name].tobytes() != expected[name].tobytes()] == []


def write_records(folder: Path, count: int = 6) -> Path:
    """Videos of a few grey frames with two questions each; returns the file of their records."""
    from pvchat_jax.data.record_files import write_records
    from pvchat_jax.data.records import Question, Record
    from tests.data.video_files import write_video

    records = []
    for index in range(count):
        write_video(folder / f"{index}.mp4", 3 + index, width=32, height=32)
        answer = "Yes, it is." if index % 2 else "No."
        questions = tuple(Question(question=f"Is <Wilson> {word}?", answer=answer, type="existence") for word in ("here", "there"))
        role = "positive" if index % 2 else "easy_negative"
        records.append(Record(video=f"{index}.mp4", subject="<Wilson>", role=role, origin="real", questions=questions))
    write_records(folder / "train.jsonl", records)
    return folder / "train.jsonl"


def main() -> None:
    from pvchat_jax import train

    write = MetricsWriter.write

    def write_and_die(self: MetricsWriter, step: int, metrics) -> None:
        write(self, step, metrics)
        if str(step) == os.environ.get("DIE_AT_STEP"):
            os.kill(os.getpid(), signal.SIGKILL)

    with stand_in_model(), mock.patch.object(MetricsWriter, "write", write_and_die):
        train.main()


if __name__ == "__main__":
    main()
