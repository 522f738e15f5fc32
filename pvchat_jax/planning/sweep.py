"""Which meshes and slices to compare, and which of them to recommend."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.planning.estimate import Plan, make_plan, uncompiled_plan
from pvchat_jax.planning.program import topology_devices
from pvchat_jax.planning.topologies import CHIPS, Topology, parse_topology
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.initialise import abstract_params

SLICES_PER_CHIP = 2  # of each kind, where no topology is named


def candidate_meshes(num_chips: int, num_kv_heads: int) -> list[MeshConfig]:
    """Parameters whole on each chip, shared by all, shared by groups of four, and each matrix cut in four as well."""
    sizes = [(num_chips, 1, 1), (1, num_chips, 1)]
    if num_chips > 4 and num_chips % 4 == 0:
        sizes.append((num_chips // 4, 4, 1))
        if num_kv_heads % 4 == 0:
            sizes.append((1, num_chips // 4, 4))
    return [MeshConfig(data=data, fsdp=fsdp, tensor=tensor) for data, fsdp, tensor in sizes]


def default_topologies() -> list[Topology]:
    """The smallest slices of each kind of chip."""
    return [parse_topology(f"{chip.name}:{grid}") for chip in CHIPS.values() for grid in chip.examples[:SLICES_PER_CHIP]]


def sweep(config: TrainConfig, topologies: Sequence[Topology]) -> Iterator[Plan]:
    """A plan for each mesh on each slice, one after the other; what cannot fit for its parameters alone is not compiled.

    The batch is `data.batch_size`, rounded up to what divides over the mesh.
    """
    for topology in topologies:
        devices = topology_devices(topology)
        for mesh_config in candidate_meshes(topology.num_chips, config.model.language_model.num_kv_heads):
            trial = fitted_batch(dataclasses.replace(config, mesh=mesh_config))
            mesh = make_mesh(mesh_config, devices)
            if (needed := parameter_bytes(trial, mesh)) > topology.chip.hbm_bytes:
                yield dataclasses.replace(uncompiled_plan(trial, topology, mesh), peak_bytes=needed)
            else:
                yield make_plan(trial, topology)


def fitted_batch(config: TrainConfig) -> TrainConfig:
    """`config` with the next batch that divides over its mesh and its micro-batches."""
    multiple = config.mesh.data * config.mesh.fsdp * config.optimizer.gradient_accumulation
    batch = math.ceil(config.data.batch_size / multiple) * multiple
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch))


def parameter_bytes(config: TrainConfig, mesh: jax.sharding.Mesh) -> int:
    """Bytes of parameters and optimizer moments on one chip, by arithmetic."""
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype))
    trainable, frozen = abstract_params(config, model, mesh)

    def held(tree: object) -> int:
        return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

    return 3 * held(trainable) + held(frozen)  # AdamW keeps two moments


def recommend(plans: Sequence[Plan]) -> Plan:
    """Of those that fit, the one with the most pairs per hour and chip; among equals the one that moves least over the links.

    Raises:
      UserError: none fits.
    """
    fitting = [plan for plan in plans if plan.fits]
    if not fitting:
        raise UserError("none of these fits; name larger slices in --topology, or lower --config.data.batch_size.")

    def merit(plan: Plan) -> tuple[float, float]:
        links = sum(plan.movement.link_bytes.values()) if plan.movement else math.inf
        return plan.qa_pairs_per_hour / math.prod(plan.mesh), -links

    return max(fitting, key=merit)
