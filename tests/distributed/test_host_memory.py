"""Two hosts that share the parameters of a large model: neither ever holds all of it, wherever it comes from."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from configs import stage1
from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.initialise import abstract_params
from pvchat_jax.training.partition import join_params
from pvchat_jax.training.weights import REPORT_FILE
from tests.distributed.processes import finish, start
from tests.training.stand_in_run import write_records

pytestmark = pytest.mark.slow

# Many narrow layers, so that what a device gathers for one of them is next to nothing.
LARGE = {"num_layers": 96, "width": 512, "mlp_width": 2048}
SMALL = {**LARGE, "num_layers": 2}
MOST = 0.75  # of the model; half of it is a host's share


def model_overrides(sizes: dict[str, int]) -> dict[str, int]:
    return {f"model.language_model.{name}": value for name, value in sizes.items()}


def train(records, output, sizes: dict[str, int], num_steps: int, weights="") -> tuple[list[int], str]:
    """Peak memory of each of two hosts with four devices each, in bytes, and what the first one showed."""
    settings = {
        **model_overrides(sizes),
        "data.train": records,
        "data.batch_size": 8,
        "data.questions_per_video": 1,
        "data.cache_features": False,
        "weights": weights,
        "output_dir": output,
        "num_steps": num_steps,
        "optimizer.warmup_steps": 0,
        "checkpoint.every_steps": 1,
        "mesh.data": 1,
        "mesh.fsdp": 8,
    }
    given = ["--config=configs/stage1.py:tiny", *(f"--config.{name}={value}" for name, value in settings.items())]
    ended = finish(start(given, 2, devices=4, module="tests.distributed.measured_train"))
    assert [status for status, *_ in ended] == [0, 0], ended
    return [int(re.search(r"^peak (\d+)$", shown, re.MULTILINE).group(1)) for _, shown, _ in ended], ended[0][1]


def abstract(sizes: dict[str, int]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of all parameters by name, in float32."""
    config = stage1.tiny()
    model = dataclasses.replace(config.model, language_model=dataclasses.replace(config.model.language_model, **sizes))
    config = dataclasses.replace(config, model=model)
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    return flatten_dict(join_params(*abstract_params(config, build_pvchat(model, dtype=jnp.float32), mesh)), sep="/")


def write_weights(folder, sizes: dict[str, int]) -> None:
    """Converted weights of the size of the model, as converters write them."""
    tensors = {name: np.full(leaf.shape, 0.01, np.float32) for name, leaf in abstract(sizes).items()}
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(folder, unflatten_dict(tensors, sep="/"))
    (folder / REPORT_FILE).write_text(json.dumps({"fingerprint": "0" * 64}), encoding="utf-8")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records"), count=8)


def test_no_host_holds_the_whole_model(records, tmp_path):
    size = sum(int(np.prod(leaf.shape)) * 4 for leaf in abstract(LARGE).values())
    write_weights(tmp_path / "weights", LARGE)
    write_weights(tmp_path / "small_weights", SMALL)
    for source, weights, num_steps in (("the seed", "", 1), ("a checkpoint", "", 2), ("weights", "weights", 1)):
        name = weights or "seed"
        small, _ = train(records, tmp_path / f"small_{name}", SMALL, num_steps, tmp_path / f"small_{weights}" if weights else "")
        large, shown = train(records, tmp_path / f"large_{name}", LARGE, num_steps, tmp_path / weights if weights else "")
        assert ("continuing from step 1" in shown) == (source == "a checkpoint")
        for host in range(2):
            share = (large[host] - small[host]) / size
            print(f"from {source}, host {host}: {share:.2f} of a model of {size / 1e9:.2f} GB")
            assert share < MOST, source
