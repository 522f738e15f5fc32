"""A plan: what one compiled training step needs of a chip, and the least time that it can take."""

import dataclasses
import math
import re

from jax.sharding import Mesh

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.planning.flops import Flops, count_flops, step_shapes
from pvchat_jax.planning.hlo import Movement, read_movement
from pvchat_jax.planning.program import Compiled, DoesNotFit, compile_step, row_lengths, topology_devices
from pvchat_jax.planning.topologies import Topology
from pvchat_jax.sharding import make_mesh

_USED = re.compile(r"Used ([\d.]+)([KMGT]) of")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a chip that the program takes while it runs.

    Attributes:
      arguments: parameters, optimizer state and batch. temporary: activations, gradients, gathered weights.
      peak: both, and the program itself.
    """

    arguments: int
    temporary: int
    peak: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One configuration on one mesh.

    Attributes:
      mesh: devices along data, fsdp and tensor.
      flops: operations of one step over all chips, by part of the model.
      memory: None where the compiler refused the program; then `peak_bytes` is what it said, if it did.
      movement: None as well where the compiler's text cannot be read.
    """

    config: TrainConfig
    topology: Topology
    mesh: tuple[int, ...]
    flops: dict[str, Flops]
    memory: Memory | None
    peak_bytes: int | None
    movement: Movement | None
    compile_seconds: float = 0.0
    process_bytes: int = 0

    @property
    def fits(self) -> bool:
        return self.memory is not None

    @property
    def flops_per_chip(self) -> float:
        """Operations of one step that are executed on a chip, if they divide evenly."""
        return sum(part.total for part in self.flops.values()) / math.prod(self.mesh)

    @property
    def bounds(self) -> dict[str, float]:
        """Seconds that a step takes at least, by what limits it: each at its published peak and perfectly overlapped."""
        chip = self.topology.chip
        bounds = {"compute": self.flops_per_chip / chip.flops_per_second}
        if self.memory is not None and self.movement is not None:
            moved = self.memory.arguments + self.movement.memory_bytes
            bounds["memory"] = moved / chip.hbm_bytes_per_second
            bounds["links"] = sum(self.movement.link_bytes.values()) / chip.ici_bytes_per_second
        return bounds

    @property
    def seconds_lower_bound(self) -> float:
        return max(self.bounds.values())

    @property
    def qa_pairs_per_hour(self) -> float:
        """Question and answer pairs trained on, over all chips, at the lower bound: an upper bound itself."""
        return self.config.data.batch_size * self.config.data.questions_per_video * 3600 / self.seconds_lower_bound


def make_plan(config: TrainConfig, topology: Topology) -> Plan:
    """Compiles the training step of `config` for `topology`, which takes minutes for the full model.

    Raises:
      UserError: the mesh or the batch does not divide, or libtpu is missing.
    """
    mesh = make_mesh(config.mesh, topology_devices(topology))
    plan = uncompiled_plan(config, topology, mesh)
    try:
        compiled = compile_step(config, mesh)
    except DoesNotFit as error:
        return dataclasses.replace(plan, peak_bytes=stated_bytes(str(error)))
    memory = read_memory(compiled)
    return dataclasses.replace(
        plan,
        memory=memory,
        peak_bytes=memory.peak,
        movement=_movement(compiled),
        compile_seconds=compiled.seconds,
        process_bytes=compiled.process_bytes,
    )


def uncompiled_plan(config: TrainConfig, topology: Topology, mesh: Mesh) -> Plan:
    """What is known without the compiler."""
    flops = count_flops(config, step_shapes(config, *row_lengths(config)))
    return Plan(
        config=config,
        topology=topology,
        mesh=tuple(mesh.shape.values()),
        flops=flops,
        memory=None,
        peak_bytes=None,
        movement=None,
    )


def read_memory(compiled: Compiled) -> Memory:
    """Sizes per device, as the compiler laid the program out."""
    sizes = compiled.executable.memory_analysis()
    arguments = sizes.argument_size_in_bytes
    summed = arguments + sizes.temp_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    highest = max(sizes.peak_memory_in_bytes, summed)  # some releases of the compiler leave the temporary part at 0
    return Memory(arguments=arguments, temporary=highest - arguments, peak=highest + sizes.generated_code_size_in_bytes)


def stated_bytes(message: str) -> int | None:
    """Bytes that a program would have needed, from the compiler's `Used 17.33G of 15.75G hbm.`"""
    match = _USED.search(message)
    return None if match is None else int(float(match[1]) * _UNITS[match[2]])


def _movement(compiled: Compiled) -> Movement | None:
    try:
        text = compiled.executable.as_text()
    except Exception:  # jaxlib aborts with errors of several kinds on texts of compilers newer than itself
        return None
    return read_movement(text)
