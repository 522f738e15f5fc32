"""Devices and layouts: the mesh, the one table from logical axes to mesh axes, placement of arrays.

Models name the axes of their parameters and activations; only this file knows which of them are split.
`data` and `fsdp` split the batch, `fsdp` also the parameters, `tensor` the wide inner dimensions.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.errors import UserError

MESH_AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")

# An earlier row takes its mesh axes first where one array has several candidates.
LOGICAL_AXIS_RULES = (
    ("batch", BATCH_AXES),  # activations: videos, clips or rows
    ("vocab", "tensor"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("mlp", "tensor"),
    ("embed", "fsdp"),  # parameters: width of a tower
    ("embed_activation", None),
    ("length", None),  # tokens of a row or a clip
    ("layers", None),  # blocks stacked by a scan
    ("norm", None),
    ("lora", "fsdp"),  # of the factor whose other axis is not: with its moments it would lie whole on every device
    ("router", None),
    ("query", None),  # learned query tokens
    ("qformer", None),  # Q-Former width on the way into the language model
    ("patch", None),
    ("position", None),
)


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Mesh over (data, fsdp, tensor); a size of -1 takes the devices that the others leave.

    Sizes that are all explicit may leave devices idle in a run of one process. On several TPU slices `data` runs over the
    slices first, which only the data-centre network joins, and the rest of the mesh lies within each slice.

    Raises:
      UserError: the devices do not divide, are too few, several processes would not all take part, or `data` is no multiple
        of the TPU slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = [getattr(config, axis) for axis in MESH_AXES]
    shape = ", ".join(f"{axis} {size}" for axis, size in zip(MESH_AXES, sizes, strict=True))
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes:
        if len(devices) % fixed:
            raise UserError(f"mesh ({shape}) needs a multiple of {fixed} devices and there are {len(devices)}; change the mesh sizes.")
        sizes[sizes.index(-1)] = len(devices) // fixed
    elif fixed > len(devices) or (fixed < len(devices) and jax.process_count() > 1):
        raise UserError(f"mesh ({shape}) needs {fixed} devices and there are {len(devices)}; set one size to -1 to use them all.")
    return Mesh(_lay_out(sizes, devices[: math.prod(sizes)]), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _lay_out(sizes: Sequence[int], devices: Sequence[jax.Device]) -> np.ndarray:
    """Devices in the shape `sizes`, neighbours along the last axes first."""
    data, fsdp, tensor = sizes
    # jax gives GPUs a slice_index too, their host: the network between hosts is fast enough for fsdp, so all are one slice here.
    num_slices = len({getattr(device, "slice_index", 0) for device in devices}) if devices[0].platform == "tpu" else 1
    if num_slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    if data % num_slices:
        most = math.gcd(tensor, len(devices) // num_slices)
        smaller = f" --config.mesh.tensor={most}" if most < tensor else ""
        raise UserError(
            f"mesh.data is {data} and must be a multiple of the {num_slices} TPU slices, which no other axis may span; "
            f"set --config.mesh.data={num_slices} --config.mesh.fsdp=-1{smaller}."
        )
    within = (data // num_slices, fsdp, tensor)
    return mesh_utils.create_hybrid_device_mesh(within, (num_slices, 1, 1), devices, allow_split_physical_axes=True)


@contextlib.contextmanager
def mesh_context(mesh: Mesh) -> Iterator[None]:
    """Within it, functions are traced for `mesh` and constraints on logical axes have an effect."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(LOGICAL_AXIS_RULES):
        yield


def check_axis_names(names: Sequence[str | None]) -> None:
    """Raises ValueError for a logical axis without a row in `LOGICAL_AXIS_RULES`, which flax would leave unsplit."""
    known = {name for name, _ in LOGICAL_AXIS_RULES}
    for name in names:
        if name is not None and name not in known:
            raise ValueError(f"logical axis '{name}' has no row in LOGICAL_AXIS_RULES of pvchat_jax/sharding.py")


def constrain(array: jax.Array, *names: str | None) -> jax.Array:
    """Lays an activation out by the logical names of its leading axes; without `mesh_context` does nothing."""
    check_axis_names(names)
    return nn.with_logical_constraint(array, (*names, *(None,) * (array.ndim - len(names))))


def constrain_where_divisible(array: jax.Array, *names: str | None) -> jax.Array:
    """As `constrain`, for one name of each axis, but axes that their devices do not divide are left whole: a batch of one, say."""
    check_axis_names(names)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return array
    wanted = NamedSharding(mesh, nn.logical_to_mesh_axes(names, LOGICAL_AXIS_RULES))
    return jax.lax.with_sharding_constraint(array, _divisible(wanted, array.shape))


def gather_for_batch(array: jax.Array, *names: str | None) -> jax.Array:
    """Brings together those axes of a parameter, of the logical names, that a mesh axis of the batch splits; the others may lie anyhow.

    Without `mesh_context` does nothing.
    """
    check_axis_names(names)
    if jax.sharding.get_abstract_mesh().empty:
        return array
    shared = {name for name, assigned in LOGICAL_AXIS_RULES if assigned in BATCH_AXES}
    spec = (None if name in shared else PartitionSpec.UNCONSTRAINED for name in names)
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*spec))


def param_shardings(boxed_params: Any, mesh: Mesh) -> Any:
    """Sharding of every parameter, in the structure of the unboxed tree.

    Args:
      boxed_params: `jax.eval_shape` of a Linen init, leaves boxed with their logical axes.

    A dimension that its mesh axes do not divide is replicated.

    Raises:
      ValueError: an axis name is missing from `LOGICAL_AXIS_RULES`.
    """
    specs = nn.get_partition_spec(boxed_params)
    for spec in jax.tree.leaves(specs, is_leaf=_is_spec):
        check_axis_names(spec)
    shardings = nn.logical_to_mesh_sharding(specs, mesh, LOGICAL_AXIS_RULES)
    return jax.tree.map(lambda sharding, leaf: _divisible(sharding, leaf.shape), shardings, nn.unbox(boxed_params))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """First axis over data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(batch_size: int, mesh: Mesh, gradient_accumulation: int = 1) -> None:
    """Raises UserError unless every micro-batch of a global batch splits evenly over data and fsdp."""
    parts = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    if batch_size % (parts * gradient_accumulation):
        raise UserError(
            f"data.batch_size {batch_size} does not divide into optimizer.gradient_accumulation {gradient_accumulation} x "
            f"{parts} devices along mesh axes data and fsdp; use a multiple of {parts * gradient_accumulation} or a smaller mesh."
        )


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Global arrays, first axis split over data and fsdp, from each process's rows.

    Raises:
      UserError: the rows of all processes together do not divide over the mesh.
    """
    rows = next(iter(batch.values())).shape[0]
    check_batch_size(rows * jax.process_count(), mesh)
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def gather_to_host(array: jax.Array) -> np.ndarray:
    """All values of an array, which may be spread over processes; then every process has to call it."""
    return np.asarray(array) if array.is_fully_addressable else multihost_utils.process_allgather(array, tiled=True)


def _is_spec(node: Any) -> bool:
    return isinstance(node, PartitionSpec)


def _divisible(sharding: NamedSharding, shape: tuple[int, ...]) -> NamedSharding:
    """`sharding` without the mesh axes that do not divide their dimension."""
    axes = []
    for size, assigned in zip(shape, sharding.spec, strict=False):  # a spec may be the shorter one
        names = (assigned,) if isinstance(assigned, str) else assigned or ()
        parts = math.prod(sharding.mesh.shape[name] for name in names)
        axes.append(assigned if size % parts == 0 else None)
    return NamedSharding(sharding.mesh, PartitionSpec(*axes))
