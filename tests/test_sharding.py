"""The mesh, the table of logical axes and the placement of parameters and batches."""

import ast
import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import pvchat_jax.models
from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import TINY
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from pvchat_jax.sharding import (
    LOGICAL_AXIS_RULES,
    batch_sharding,
    check_axis_names,
    check_batch_size,
    constrain,
    make_mesh,
    mesh_context,
    param_shardings,
    put_batch,
    replicated,
)

MESH = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


def boxed(shape: tuple[int, ...], *names: str | None) -> nn.LogicallyPartitioned:
    return nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, jnp.float32), names)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(data=2, fsdp=-1, tensor=2), (2, 2, 2)),
        (MeshConfig(data=1, fsdp=4, tensor=-1), (1, 4, 2)),
        (MeshConfig(data=1), (1, 1, 1)),
    ],
)
def test_mesh_fills_the_open_size_with_automatic_axes(config: MeshConfig, shape: tuple[int, ...]):
    mesh = make_mesh(config)
    assert tuple(mesh.shape.items()) == tuple(zip(("data", "fsdp", "tensor"), shape, strict=True))
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize("config", [MeshConfig(fsdp=3), MeshConfig(data=4, fsdp=4), MeshConfig(tensor=16)])
def test_mesh_that_does_not_fit_the_devices_is_refused(config: MeshConfig):
    with pytest.raises(UserError, match=r"mesh \(data .* there are 8"):
        make_mesh(config)


@dataclasses.dataclass(frozen=True)
class Chip:
    """What jax tells of a TPU chip."""

    id: int
    slice_index: int
    coords: tuple[int, int, int]
    process_index: int
    platform: str = "tpu"
    device_kind: str = "TPU v5p"
    core_on_chip: int = 0


def slices(count: int, x: int = 4, y: int = 4) -> list[Chip]:
    """Chips of `count` slices, those of different slices in turn, so that their order alone gives no good mesh."""
    grid = [(column, row, 0) for row in range(y) for column in range(x)]
    places = enumerate(itertools.product(grid, range(count)))
    return [Chip(number, index, coords, process_index=index * 4 + coords[1]) for number, (coords, index) in places]


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(data=2, fsdp=-1), (2, 16, 1)),
        (MeshConfig(data=-1, fsdp=4), (8, 4, 1)),
        (MeshConfig(data=4, fsdp=2, tensor=-1), (4, 2, 4)),
        (MeshConfig(), (32, 1, 1)),
    ],
)
def test_only_data_runs_between_slices_and_neighbours_stay_neighbours(config: MeshConfig, shape: tuple[int, ...]):
    mesh = make_mesh(config, slices(2))
    assert mesh.devices.shape == shape
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert len({chip.id for chip in mesh.devices.flat}) == 32
    assert [{chip.slice_index for chip in row.flat} for row in mesh.devices] == [{0}] * (shape[0] // 2) + [{1}] * (shape[0] // 2)
    for chip, neighbour in zip(mesh.devices[..., :-1].flat, mesh.devices[..., 1:].flat, strict=True):  # along tensor
        assert sum(abs(a - b) for a, b in zip(chip.coords, neighbour.coords, strict=True)) == 1
    assert make_mesh(config, slices(2)[::-1]).shape == mesh.shape


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (MeshConfig(data=1, fsdp=-1), "--config.mesh.data=2 --config.mesh.fsdp=-1."),  # the 8B presets
        (MeshConfig(data=-1, fsdp=32), "--config.mesh.data=2 --config.mesh.fsdp=-1."),
        (MeshConfig(data=1, fsdp=1, tensor=32), "--config.mesh.data=2 --config.mesh.fsdp=-1 --config.mesh.tensor=16."),
    ],
)
def test_mesh_that_would_split_parameters_over_slices_is_refused_with_the_remedy(config: MeshConfig, remedy: str):
    with pytest.raises(UserError, match=r"^mesh.data is 1 and must be a multiple of the 2 TPU slices") as caught:
        make_mesh(config, slices(2))
    assert str(caught.value).endswith(f"set {remedy}")


def test_hosts_of_gpus_are_no_slices():
    """jax gives each host of GPUs its own `slice_index`; parameters may be split over them all the same."""
    gpus = [dataclasses.replace(chip, platform="gpu", device_kind="H100") for chip in slices(2, 2, 2)]
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1), gpus[::-1])
    assert [gpu.id for gpu in mesh.devices.flat] == list(range(8))


def test_a_mesh_may_divide_an_axis_of_the_chips():
    assert make_mesh(MeshConfig(data=2, fsdp=8), slices(1)).devices.shape == (2, 8, 1)


def test_parameters_follow_the_table():
    tree = {
        "stacked": boxed((3, 8, 4), "layers", "embed", "mlp"),
        "table": boxed((6, 8), "vocab", "embed"),
        "bias": boxed((4,), "heads"),
        "plain": jax.ShapeDtypeStruct((4, 4), jnp.float32),
    }
    specs = jax.tree.map(lambda sharding: sharding.spec, param_shardings(tree, MESH))
    assert specs == {"stacked": P(None, "fsdp", "tensor"), "table": P("tensor", "fsdp"), "bias": P("tensor"), "plain": P()}


def test_dimension_that_does_not_divide_is_replicated_alone():
    sharding = param_shardings({"kernel": boxed((8, 5), "embed", "mlp")}, MESH)["kernel"]
    assert sharding.spec == P("fsdp", None)
    jax.device_put(np.zeros((8, 5)), sharding)


def test_axis_missing_from_the_table_is_an_error():
    with pytest.raises(ValueError, match="'embbed' has no row"):
        param_shardings({"kernel": boxed((8, 8), "embbed", "mlp")}, MESH)
    with pytest.raises(ValueError, match="'lenght' has no row"):
        constrain(jnp.zeros((2, 2)), "batch", "lenght")


def test_real_model_uses_exactly_the_rows_of_the_table():
    """Parameters are checked where they are placed; constraints on activations only here, since flax lets unknown names pass."""
    model = build_pvchat(TINY)
    params = jax.eval_shape(lambda: init_boxed(model, TINY, jax.random.key(0)))
    shardings = param_shardings(params, MESH)
    assert jax.tree.structure(shardings) == jax.tree.structure(nn.unbox(params))
    specs = jax.tree.leaves(nn.get_partition_spec(params), is_leaf=lambda node: isinstance(node, P))
    used = {name for spec in specs for name in spec}
    for path in Path(pvchat_jax.models.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in ("with_logical_constraint", "constrain"):
                used |= {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    used.discard(None)
    check_axis_names(sorted(used))
    assert used == {name for name, _ in LOGICAL_AXIS_RULES}


def test_constraints_act_inside_the_context_alone():
    def double(x: jax.Array) -> jax.Array:
        return 2 * constrain(x, "batch")

    assert "sharding_constraint" not in str(jax.make_jaxpr(double)(jnp.ones((8, 3))))
    with mesh_context(MESH):
        assert jax.jit(double)(jnp.ones((8, 3))).sharding.spec == P(("data", "fsdp"))


def test_batch_is_split_over_data_and_fsdp_and_keeps_its_values():
    batch = {"video": np.arange(48.0, dtype=np.float32).reshape(8, 6), "present": np.arange(8) % 2 == 0}
    placed = put_batch(batch, MESH)
    for name, array in batch.items():
        assert placed[name].sharding == batch_sharding(MESH)
        assert placed[name].dtype == array.dtype
        assert {shard.data.shape[0] for shard in placed[name].addressable_shards} == {2}
        np.testing.assert_array_equal(placed[name], array)


def test_batch_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"batch_size 6 .* multiple of 4"):
        put_batch({"present": np.zeros(6, bool)}, MESH)
    with pytest.raises(UserError, match=r"batch_size 12 .*gradient_accumulation 2 .* multiple of 8"):
        check_batch_size(12, MESH, 2)


def test_replicated_lies_whole_on_every_device():
    array = jax.device_put(np.ones((3, 3)), replicated(MESH))
    assert [shard.data.shape for shard in array.addressable_shards] == [(3, 3)] * 8
