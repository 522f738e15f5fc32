"""Checkpoints: exact, whole, checked, and honest about damage."""

import json
import shutil

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.objectives.spr import SPRState
from pvchat_jax.training.checkpoint import Checkpoints, is_disk_full
from pvchat_jax.training.state import TrainState

META = {"must_match": {"batch size": 4}, "init_from_steps": []}


def make_state(seed: int = 0, width: int = 3) -> TrainState:
    values = np.random.default_rng(seed)
    weights = {"qformer": {"kernel": jnp.asarray(values.normal(size=(4, width)), jnp.float32)}, "subject_tokens": jnp.ones(2)}
    moments = jax.tree.map(lambda leaf: leaf * 1e-20, weights)
    return TrainState(jnp.int32(seed), weights, (moments, jnp.int32(seed)), SPRState(jnp.full(2, 1e-8), jnp.full(2, 0.5)))


def make_iterator() -> grain.DatasetIterator:
    return iter(grain.MapDataset.range(100).seed(1).shuffle().repeat().batch(4).to_iter_dataset(grain.ReadOptions(num_threads=1)))


def like(state: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def assert_equal(actual, expected) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    assert all(
        np.array(a).tobytes() == np.array(b).tobytes() for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    )


@pytest.fixture
def reports():
    return []


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with checkpoints of steps 1 and 2, the second one batch further; to be copied."""
    checkpoints = Checkpoints(tmp_path_factory.mktemp("saved"), keep=2)
    iterator = make_iterator()
    for step in (1, 2):
        next(iterator)
        checkpoints.save(step, make_state(step), iterator, META)
    checkpoints.wait()
    checkpoints.close()
    return checkpoints.directory


@pytest.fixture
def checkpoints(saved, tmp_path, reports):
    shutil.copytree(saved, tmp_path / "checkpoints")
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2, report=reports.append)
    yield checkpoints
    checkpoints.close()


def test_state_position_and_meta_come_back_exactly(checkpoints):
    expected = make_iterator()
    next(expected), next(expected)
    iterator = make_iterator()
    restored = checkpoints.restore(like(make_state()), iterator, {"batch size": 4})
    assert restored.step == 2
    assert restored.meta["init_from_steps"] == []
    assert_equal(restored.state, make_state(2))
    np.testing.assert_array_equal(next(iterator), next(expected))


def test_a_new_directory_has_no_steps(tmp_path):
    assert Checkpoints(tmp_path / "new").steps() == Checkpoints(tmp_path / "absent", read_only=True).steps() == []
    assert not (tmp_path / "absent").exists()


def test_what_moves_on_after_a_save_does_not_change_it(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    state = jax.device_put(make_state(), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    expected = jax.tree.map(np.array, state)
    iterator = make_iterator()
    first = next(make_iterator())
    checkpoints.save(5, state, iterator, META)
    advance = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    for _ in range(20):
        state = advance(state)
        next(iterator)
    checkpoints.wait()
    iterator = make_iterator()
    assert_equal(checkpoints.restore(like(state), iterator, {}).state, expected)
    np.testing.assert_array_equal(next(iterator), first)


def test_the_newest_are_kept(checkpoints):
    checkpoints.save(3, make_state(3), make_iterator(), META)
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3]


def test_a_checkpoint_is_placed_as_asked(checkpoints):
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("fsdp"))
    wanted = {"qformer": {"kernel": jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=split)}}
    restored = checkpoints.restore_trainable(2, wanted)
    assert restored["qformer"]["kernel"].sharding == split
    assert_equal(restored, {"qformer": make_state(2).trainable["qformer"]})


def test_another_model_size_is_refused_with_the_first_tensor_and_both_shapes(checkpoints):
    for attempt in (
        lambda: checkpoints.restore(like(make_state(width=5)), make_iterator(), {}),
        lambda: checkpoints.restore_trainable(2, like(make_state(width=5)).trainable),
    ):
        with pytest.raises(UserError, match=r"trainable/qformer/kernel has shape \(4, 3\) there and has shape \(4, 5\)"):
            attempt()
    assert checkpoints.steps() == [1, 2]


def test_a_tensor_that_the_checkpoint_lacks_is_named(checkpoints):
    with pytest.raises(UserError, match="trainable/new is missing there"):
        checkpoints.restore_trainable(2, {"new": like(make_state()).step})


def test_another_batch_size_is_refused(checkpoints):
    with pytest.raises(UserError, match="made with batch size 4 and this run has 8"):
        checkpoints.restore(like(make_state()), make_iterator(), {"batch size": 8})


def test_another_format_is_refused(checkpoints, monkeypatch):
    monkeypatch.setattr("pvchat_jax.training.checkpoint.FORMAT_VERSION", 2)
    with pytest.raises(UserError, match="has format 1 and this version of pvchat_jax reads 2"):
        checkpoints.restore(like(make_state()), make_iterator(), {})


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut_in_half(folder):
    path = largest_file(folder / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(folder):
    path = largest_file(folder / "state" / "d")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_the_state(folder):
    shutil.rmtree(folder / "state")


def remove_the_position(folder):
    next((folder / "data").glob("process_*")).unlink()


def remove_the_checksums(folder):
    (folder / "checksums.json").unlink()


@pytest.mark.parametrize("damage", [cut_in_half, flip_a_bit, remove_the_state, remove_the_position, remove_the_checksums])
def test_a_damaged_newest_checkpoint_is_reported_put_aside_and_the_one_before_used(checkpoints, reports, damage):
    damage(checkpoints.directory / "2")
    restored = checkpoints.restore(like(make_state()), make_iterator(), {})
    assert restored.step == 1
    assert_equal(restored.state, make_state(1))
    assert len(reports) == 1
    assert str(checkpoints.directory / "2") in reports[0] and "is damaged" in reports[0]
    assert (checkpoints.directory / "damaged-2").is_dir()
    checkpoints.save(2, make_state(2), make_iterator(), META)  # its step is free again
    checkpoints.wait()
    assert checkpoints.restore(like(make_state()), make_iterator(), {}).step == 2


def test_damage_that_checksums_do_not_cover_is_met_too(checkpoints):
    folder = checkpoints.directory / "2"
    flip_a_bit(folder)
    sums = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps({name: value for name, value in sums.items() if not name.startswith("state/")}))
    shutil.rmtree(folder / "state" / "d")
    assert checkpoints.restore(like(make_state()), make_iterator(), {}).step == 1


def test_nothing_but_damage_is_an_error_and_not_a_fresh_start(checkpoints):
    for step in (1, 2):
        cut_in_half(checkpoints.directory / str(step))
    with pytest.raises(UserError, match=r"no checkpoint in .* is undamaged"):
        checkpoints.restore(like(make_state()), make_iterator(), {})


def test_parameters_of_a_damaged_run_are_refused(checkpoints):
    flip_a_bit(checkpoints.directory / "2")
    with pytest.raises(UserError, match="is damaged"):
        checkpoints.restore_trainable(2, like(make_state()).trainable)


def test_an_interrupted_save_is_tidied_up_by_the_next_start_alone(tmp_path):
    unfinished = tmp_path / "7.orbax-checkpoint-tmp"
    (unfinished / "state").mkdir(parents=True)
    Checkpoints(tmp_path, read_only=True).steps()
    assert unfinished.is_dir()  # the run that is being read may be writing it
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == []
    checkpoints.save(7, make_state(), make_iterator(), META)
    checkpoints.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Failed writing: No space left on device [os_error_code='28']"),
    ],
)
def test_a_full_disk_is_said_with_what_is_safe(checkpoints, monkeypatch, error):
    def fail(*_, **__):
        (checkpoints.directory / "3.orbax-checkpoint-tmp").mkdir()
        raise RuntimeError("save failed") from error

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(UserError) as caught:
        checkpoints.save(3, make_state(3), make_iterator(), META)
    message = str(caught.value)
    assert "disk" in message and "the last good checkpoint is step 2" in message
    assert not (checkpoints.directory / "3.orbax-checkpoint-tmp").exists()  # so that there is a little space again


def test_other_errors_are_not_taken_for_a_full_disk():
    assert not is_disk_full(OSError(13, "Permission denied"))
