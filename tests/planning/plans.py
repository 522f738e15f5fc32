"""Plans without a compiler, for tests of what is done with them."""

from configs import stage2
from pvchat_jax.planning.estimate import Memory, Plan
from pvchat_jax.planning.flops import Flops
from pvchat_jax.planning.hlo import Movement
from pvchat_jax.planning.topologies import parse_topology

GIB = 2**30


def plan_of(topology: str, mesh: tuple[int, int, int], *, peak_gib: float | None, tera: float = 16.0, link_bytes: float = 1e9) -> Plan:
    """A plan of `tera` TFLOP per step over all chips; without `peak_gib` it does not fit."""
    memory = None if peak_gib is None else Memory(arguments=GIB, temporary=int((peak_gib - 1) * GIB), peak=int(peak_gib * GIB))
    return Plan(
        config=stage2.get_config("8b"),
        topology=parse_topology(topology),
        mesh=mesh,
        flops={"vision encoder": Flops(tera * 1e12 / 4, 0.0, 0.0), "head": Flops(tera * 1e12 / 4, 0.0, tera * 1e12 / 2)},
        memory=memory,
        peak_bytes=None if memory is None else memory.peak,
        movement=None if memory is None else Movement(8e9, {"all-gather": 64}, {"all-gather": link_bytes}),
        compile_seconds=150.0,
        process_bytes=2 * GIB,
    )
