"""Frozen parameters in int8: where they come from, what they take, and what training with them computes."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file

from configs import stage1
from pvchat_jax.config.run_directory import CHECKPOINTS
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.models.config import EIGHT_B, TINY, PVChatConfig
from pvchat_jax.models.int8 import Int8Kernel, quantise
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import MESH_AXES, make_mesh, put_batch
from pvchat_jax.training import weights
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.initialise import Start, abstract_params, initialise, load_run
from pvchat_jax.training.partition import Params
from pvchat_jax.training.step import make_train_step
from pvchat_jax.training.weights import SAFETENSORS_FILE
from tests.training.stand_in import StandIn, make_config
from tests.training.stand_in_run import assert_equal, make_batches, params_of, stand_in_model
from tests.training.test_initialise import save

IN_INT8 = {"vision_encoder/lower_blocks/kernel", "vision_encoder/upper_blocks/kernel", "language_model/lm_head/kernel"}


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    config = dataclasses.replace(make_config(seed=3, lora=0.0), output_dir=str(tmp_path / "run"), frozen_dtype="int8")
    return dataclasses.replace(config, mesh=MeshConfig(data=1, fsdp=2, tensor=2))


def start(config: TrainConfig) -> Start:
    with stand_in_model():
        checkpoints = Checkpoints(Path(config.output_dir) / CHECKPOINTS)
        return initialise(config, StandIn(), mesh_of(config), checkpoints, make_batches(), {})


def mesh_of(config: TrainConfig) -> jax.sharding.Mesh:
    return make_mesh(config.mesh, jax.devices()[:4])


def all_params(config: TrainConfig) -> dict[str, np.ndarray]:
    with stand_in_model():
        return {name: np.asarray(leaf) for name, leaf in flatten_dict(params_of(config, mesh_of(config), 5), sep="/").items()}


def assert_stored(frozen: Params, values: dict[str, np.ndarray]) -> None:
    """Kernels of both towers are the int8 nearest to `values`, everything else is bfloat16."""
    flat = flatten_dict(frozen, sep="/")
    assert {name for name, leaf in flat.items() if isinstance(leaf, Int8Kernel)} == IN_INT8
    for name, leaf in flat.items():
        assert_equal(leaf, jax.jit(quantise)(values[name]) if name in IN_INT8 else values[name].astype(jnp.bfloat16))


@pytest.mark.parametrize("kind", ["safetensors", "converted", "seed"])
def test_kernels_of_the_towers_come_into_int8_from_every_source(config: TrainConfig, tmp_path: Path, kind: str) -> None:
    values, folder = all_params(config), tmp_path / "weights"
    if kind == "safetensors":
        folder.mkdir()
        save_file(values, folder / SAFETENSORS_FILE)
    elif kind == "converted":
        with ocp.PyTreeCheckpointer() as writer:
            writer.save(folder, unflatten_dict(values, sep="/"))
    else:
        config = dataclasses.replace(config, seed=5)
    frozen = start(config if kind == "seed" else dataclasses.replace(config, weights=str(folder))).frozen
    assert_stored(frozen, values)
    assert "language_model/lm_head/lora_a" in flatten_dict(frozen, sep="/")  # it rests here, and is not in int8


def test_one_kernel_after_the_other_is_read_so_that_no_two_exist_in_floats(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(tmp_path / "weights", unflatten_dict(all_params(config), sep="/"))
    read, restore = [], weights._restore

    def restore_and_note(directory: Path, wanted: weights.Abstract, largest: int) -> dict[str, jax.Array]:
        read.append(set(wanted))
        return restore(directory, wanted, largest)

    monkeypatch.setattr(weights, "_restore", restore_and_note)
    start(dataclasses.replace(config, weights=str(tmp_path / "weights")))
    assert [names for names in read if names & IN_INT8] == [{name} for name in sorted(IN_INT8, key=list(all_params(config)).index)]


def test_scales_lie_like_the_output_channels_of_their_kernels(config: TrainConfig) -> None:
    kernel = start(config).frozen["vision_encoder"]["upper_blocks"]["kernel"]
    assert kernel.values.sharding.spec == jax.P("fsdp", "tensor") and kernel.scale.sharding.spec == jax.P(None, "tensor")


def test_what_an_earlier_stage_trained_comes_into_int8_as_it_was_then(config: TrainConfig, tmp_path: Path) -> None:
    trains = dataclasses.replace(config.optimizer, vision_upper=1e-3)
    first = dataclasses.replace(config, optimizer=trains)
    state = save(first, start(first), 20, change=0.5)
    frozen = start(dataclasses.replace(config, output_dir=str(tmp_path / "run2"), init_from=first.output_dir)).frozen
    trained = np.asarray(state.trainable["vision_encoder"]["upper_blocks"]["kernel"])
    assert_equal(frozen["vision_encoder"]["upper_blocks"]["kernel"], jax.jit(quantise)(trained))


def test_a_run_is_loaded_as_it_was_trained_or_with_the_floats_of_its_base(config: TrainConfig, tmp_path: Path) -> None:
    values = all_params(config)
    save_file(values, tmp_path / SAFETENSORS_FILE)
    config = dataclasses.replace(config, weights=str(tmp_path), data=dataclasses.replace(config.data, tokenizer="tiny"))
    begun = start(config)
    save(config, begun, 20, change=0.5)
    with stand_in_model():
        ours, exact = (load_run(config.output_dir, mesh_of(config), as_floats=floats).params for floats in (False, True))
    assert_equal(ours["language_model"]["lm_head"]["kernel"], begun.frozen["language_model"]["lm_head"]["kernel"])
    for name in IN_INT8:
        assert_equal(flatten_dict(exact, sep="/")[name], values[name].astype(jnp.bfloat16))


def frozen_bytes(model: PVChatConfig, frozen_dtype: str) -> tuple[int, int, int]:
    """Bytes of the frozen parameters, and of kernels in int8 the number of parameters and of scales."""
    config = dataclasses.replace(stage1.get_config("tiny" if model is TINY else "8b"), frozen_dtype=frozen_dtype)
    _, frozen = abstract_params(config, build_pvchat(model), make_mesh(MeshConfig(data=1), jax.devices()[:1]))
    kernels = [leaf for leaf in flatten_dict(frozen).values() if isinstance(leaf, Int8Kernel)]
    total = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(frozen))
    return total, sum(kernel.size for kernel in kernels), sum(kernel.scale.size for kernel in kernels)


@pytest.mark.parametrize("model", [TINY, EIGHT_B])
def test_a_byte_of_each_kernel_parameter_is_saved_and_four_of_each_scale_spent(model: PVChatConfig) -> None:
    in_bfloat16, none, _ = frozen_bytes(model, "bfloat16")
    in_int8, parameters, scales = frozen_bytes(model, "int8")
    assert none == 0 and in_int8 == in_bfloat16 - parameters + 4 * scales
    assert model is TINY or in_int8 < 0.52 * in_bfloat16


SMALL = dataclasses.replace(
    TINY,
    vision=dataclasses.replace(TINY.vision, width=32, num_heads=2, mlp_width=64),
    qformer=dataclasses.replace(TINY.qformer, width=32, mlp_width=64),
    language_model=dataclasses.replace(TINY.language_model, width=32, mlp_width=64, head_dim=8, vocab_size=64),
)
NUM_STEPS = 20


def make_batch(config: TrainConfig, seed: int) -> dict[str, np.ndarray]:
    """Two questions about each of eight random videos of one frame; each video is followed by some text."""
    random, visual = np.random.default_rng(seed), SMALL.qformer.num_visual_tokens
    shape = (config.data.batch_size, 2, visual + 8)
    ids = random.integers(0, SMALL.language_model.vocab_size, shape, np.int32)
    position = np.arange(shape[-1])
    return {
        "video": random.standard_normal((shape[0], 1, 1, 64, 64, 3), np.float32),
        "input_ids": ids,
        "attention_mask": np.ones(shape, bool),
        "labels": np.where(position > visual, ids, -100).astype(np.int32),
        "answer_positions": np.broadcast_to(position[visual:-1], (*shape[:2], 7)).astype(np.int32),
        "video_mask": np.broadcast_to(position < visual, shape).copy(),
    }


RATES = {"subject_tokens": 1e-3, "name_row": 1e-3, "qformer": 6e-4, "router": 3e-4, "lora": 1.5e-3}


@functools.cache
def losses(frozen_dtype: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Of twenty steps of a small model with the real one's modules."""
    config = stage1.get_config("tiny")
    config = dataclasses.replace(
        config,
        weights="",
        model=SMALL,
        frozen_dtype=frozen_dtype,
        data=dataclasses.replace(config.data, batch_size=8, cache_features=False),
        optimizer=dataclasses.replace(config.optimizer, **RATES),
        mesh=MeshConfig(**dict(zip(MESH_AXES, shape, strict=True))),
    )
    mesh = make_mesh(config.mesh)
    model = build_pvchat(config.model)
    step = make_train_step(model, config, mesh)
    begun = initialise(config, model, mesh, Checkpoints(Path("/nonexistent"), read_only=True), iter(()), {})
    state, frozen, batch, found = begun.state, begun.frozen, put_batch(make_batch(config, 0), mesh), []
    for _ in range(NUM_STEPS):
        state, metrics = step(state, frozen, batch)
        found.append(float(metrics["loss"]))
    return np.array(found)


@pytest.mark.slow
def test_training_in_int8_follows_training_in_floats() -> None:
    """Within 0.2 % over twenty steps; bfloat16 was as far away."""
    floats, int8 = losses("float32", (1, 1, 1)), losses("int8", (1, 1, 1))
    assert floats[-1] < 0.8 * floats[0]  # equality would say little if nothing were learnt
    np.testing.assert_allclose(int8, floats, rtol=2e-3)
    assert np.any(int8 != floats)


@pytest.mark.slow
def test_eight_devices_compute_in_int8_what_one_does() -> None:
    np.testing.assert_allclose(losses("int8", (2, 2, 2)), losses("int8", (1, 1, 1)), rtol=1e-5)
