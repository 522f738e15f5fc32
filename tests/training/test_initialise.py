"""Where a run's numbers come from."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from pvchat_jax.config.run_directory import CHECKPOINTS, write_config
from pvchat_jax.errors import UserError
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.initialise import initialise, load_run
from pvchat_jax.training.partition import join_params, split_params, trainable_groups
from tests.training.stand_in import StandIn, make_config
from tests.training.stand_in_run import assert_equal, leaves, make_batches, stand_in_model

MODEL = StandIn()
STAGE_1 = {"subject_tokens": 1e-2, "name_row": 1e-2, "qformer": 1e-3, "router": 1e-3, "lora": 1e-2}


@pytest.fixture(autouse=True)
def _stand_in():
    with stand_in_model():
        yield


@pytest.fixture
def config(tmp_path):
    return dataclasses.replace(make_config(seed=3, **STAGE_1), output_dir=str(tmp_path / "run"), frozen_dtype="float32")


def start(config, **must_match):
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    checkpoints = Checkpoints(Path(config.output_dir) / CHECKPOINTS, keep=3)
    return initialise(config, MODEL, mesh, checkpoints, make_batches(), must_match)


def params(begun):
    return flatten_dict(join_params(begun.state.trainable, begun.frozen), sep="/")


def save(config, begun, step, change):
    """A checkpoint of `config` at `step` whose trainable parameters are changed by adding `change`."""
    write_config(config)
    trainable = jax.tree.map(lambda leaf: leaf + change, begun.state.trainable)
    state = begun.state._replace(step=jnp.int32(step), trainable=trainable)
    checkpoints = Checkpoints(Path(config.output_dir) / CHECKPOINTS, keep=3)
    checkpoints.save(step, state, make_batches(), {"must_match": {}, "init_from_steps": begun.init_from_steps})
    checkpoints.wait()
    checkpoints.close()
    return state


def write_weights(path, values):
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(Path(path).absolute(), unflatten_dict(values, sep="/"))


def without(values, *parts):
    return {name: value for name, value in values.items() if not any(part in name for part in parts)}


def test_without_anything_the_seed_decides(config):
    begun, again, other = start(config), start(config), start(dataclasses.replace(config, seed=4))
    assert_equal(params(begun), params(again))
    assert np.any(params(begun)["subject_tokens"] != params(other)["subject_tokens"])
    assert int(begun.state.step) == 0
    assert begun.notes == ("all parameters drawn from seed 3",)


def test_parameters_are_made_in_their_shards_and_dtypes(config):
    config = dataclasses.replace(config, frozen_dtype="bfloat16", mesh=dataclasses.replace(config.mesh, data=1, fsdp=2))
    mesh = make_mesh(config.mesh, jax.devices()[:2])
    begun = initialise(config, MODEL, mesh, Checkpoints(Path(config.output_dir) / CHECKPOINTS), make_batches(), {})
    found = params(begun)
    assert {leaf.dtype for leaf in jax.tree.leaves(begun.frozen)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(begun.state.trainable)} == {jnp.dtype("float32")}
    assert found["language_model/embed_tokens"].sharding.spec == jax.sharding.PartitionSpec("tensor", "fsdp")
    assert {shard.data.shape for shard in found["language_model/embed_tokens"].addressable_shards} == {(680, 4)}


def test_weights_are_used_and_what_they_lack_is_drawn_and_named(config, tmp_path):
    seeded = params(start(config))
    values = without({name: np.array(leaf) + 1 for name, leaf in seeded.items()}, "lora", "subject_tokens", "added", "router", "mixing")
    write_weights(tmp_path / "weights", values)
    begun = start(dataclasses.replace(config, weights=str(tmp_path / "weights")))
    assert_equal(params(begun), {**seeded, **values})
    assert begun.notes[0] == f"{len(values)} tensors from {tmp_path / 'weights'}"
    assert "language_model/added_embedding" in begun.notes[1] and "more drawn from seed 3" in begun.notes[1]


def test_weights_without_frozen_parameters_are_refused_with_their_names(config, tmp_path):
    values = without({name: np.array(leaf) for name, leaf in params(start(config)).items()}, "project_up", "lower_blocks", "subject_tokens")
    write_weights(tmp_path / "weights", values)
    with pytest.raises(UserError) as caught:
        start(dataclasses.replace(config, weights=str(tmp_path / "weights")))
    assert "project_up/kernel" in str(caught.value) and "vision_encoder/lower_blocks/kernel" in str(caught.value)
    assert "subject_tokens" not in str(caught.value)


def test_a_name_row_that_does_not_train_may_still_be_new(config, tmp_path):
    config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, name_row=0.0))
    seeded = {name: np.array(leaf) for name, leaf in params(start(config)).items()}
    write_weights(tmp_path / "weights", without(seeded, "added"))
    assert_equal(params(start(dataclasses.replace(config, weights=str(tmp_path / "weights")))), seeded)


def test_weights_of_another_size_are_refused_with_both_shapes(config, tmp_path):
    values = {name: np.array(leaf) for name, leaf in params(start(config)).items()}
    values["project_up/kernel"] = np.zeros((3, 3), np.float32)
    write_weights(tmp_path / "weights", values)
    with pytest.raises(UserError, match=r"project_up/kernel has shape \(3, 3\) there and \(8, 8\)"):
        start(dataclasses.replace(config, weights=str(tmp_path / "weights")))


def test_a_directory_that_holds_no_weights_is_named(config, tmp_path):
    (tmp_path / "weights").mkdir()
    with pytest.raises(UserError, match=r"weights holds no converted weights .*converters\.from_torch"):
        start(dataclasses.replace(config, weights=str(tmp_path / "weights")))


def test_stage_2_takes_what_stage_1_trained_and_the_rest_from_the_weights(config, tmp_path):
    seeded = {name: np.array(leaf) for name, leaf in params(start(config)).items()}
    write_weights(tmp_path / "weights", seeded)
    first = dataclasses.replace(config, weights=str(tmp_path / "weights"))
    state = save(first, start(first), 20, change=0.5)
    second = dataclasses.replace(
        first,
        stage=2,
        output_dir=str(tmp_path / "run2"),
        init_from=first.output_dir,
        optimizer=dataclasses.replace(first.optimizer, vision_upper=1e-3, lora=0.0),
    )
    begun = start(second)
    assert_equal(params(begun), {**seeded, **leaves(state.trainable)})
    assert begun.init_from_steps == [20]
    assert int(begun.state.step) == 0
    assert "vision_encoder/upper_blocks/kernel" in leaves(begun.state.trainable)
    assert "language_model/lm_head/lora_a" in leaves(begun.frozen)  # trained in stage 1, kept as it was then


def test_an_own_checkpoint_comes_first_and_finds_the_same_frozen_parameters(config, tmp_path):
    first = config
    state_1 = save(first, start(first), 20, change=0.5)
    second = dataclasses.replace(
        config,
        seed=8,
        output_dir=str(tmp_path / "run2"),
        init_from=first.output_dir,
        optimizer=dataclasses.replace(config.optimizer, lora=0.0),
    )
    begun = start(second)
    state_2 = save(second, begun, 7, change=0.25)
    save(first, start(first), 40, change=9.0)  # stage 1 goes on meanwhile
    resumed = start(second)
    assert_equal(resumed.state, state_2)
    assert_equal(resumed.frozen, begun.frozen)
    assert leaves(resumed.frozen)["language_model/lm_head/lora_a"] == pytest.approx(
        leaves(state_1.trainable)["language_model/lm_head/lora_a"]
    )
    assert resumed.notes == (f"continuing from step 7 in {tmp_path / 'run2' / CHECKPOINTS}",)


def test_an_earlier_stage_that_goes_on_is_no_trouble_where_nothing_of_it_is_frozen(config, tmp_path):
    save(config, start(config), 20, change=0.5)
    second = dataclasses.replace(config, output_dir=str(tmp_path / "run2"), init_from=config.output_dir)
    state = save(second, start(second), 7, change=0.25)
    (tmp_path / "run/checkpoints/20").rename(tmp_path / "run/checkpoints/30")
    assert_equal(start(second).state, state)


def test_a_step_of_the_earlier_stage_that_is_gone_is_named(config, tmp_path):
    save(config, start(config), 20, change=0.5)
    second = dataclasses.replace(
        config, output_dir=str(tmp_path / "run2"), init_from=config.output_dir, optimizer=dataclasses.replace(config.optimizer, lora=0.0)
    )
    save(second, start(second), 7, change=0.25)
    (tmp_path / "run/checkpoints/20").rename(tmp_path / "run/checkpoints/30")
    with pytest.raises(UserError, match="no longer has step 20, which this run builds on"):
        start(second)


def test_an_earlier_stage_without_checkpoint_is_named(config, tmp_path):
    write_config(config)
    with pytest.raises(UserError, match="run has no checkpoint yet"):
        start(dataclasses.replace(config, output_dir=str(tmp_path / "run2"), init_from=config.output_dir))


def test_a_run_can_be_loaded_for_evaluation(config, tmp_path):
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, tokenizer="tiny"))
    begun = start(config)
    state = save(config, begun, 20, change=0.5)
    loaded = load_run(config.output_dir, make_mesh(config.mesh, jax.devices()[:1]))
    assert_equal(loaded.params, join_params(state.trainable, begun.frozen))
    assert (loaded.config, loaded.step, loaded.tokenizer.subjects) == (config, 20, ("<Wilson>",))
    assert split_params(loaded.params, trainable_groups(config.optimizer))[0].keys() == state.trainable.keys()
