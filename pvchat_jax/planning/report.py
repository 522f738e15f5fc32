"""A plan in words, as rows of a table, and as one line of JSON."""

import json
import math
from collections.abc import Sequence

from pvchat_jax.planning.estimate import Plan
from pvchat_jax.planning.program import row_lengths

_GIB = 2**30


def describe_plan(plan: Plan) -> str:
    """Lines for a reader: what was assumed, memory, operations, movement, time."""
    config, chip = plan.config, plan.topology.chip
    length, prefix_length, positions = row_lengths(config)
    data = config.data
    lines = [
        f"{plan.topology.name}, {math.prod(plan.mesh)} chips, mesh {mesh_name(plan)} (data x fsdp x tensor)",
        f"assumes {data.batch_size} videos x {data.questions_per_video} questions, "
        f"rows of {length} tokens, {prefix_length} of them in common, answers of up to {positions} tokens, "
        f"remat '{config.model.remat_policy}', {config.compute_dtype}",
        "",
        *_memory_lines(plan),
        "",
        "operations per chip and step (TFLOP)     forward  recomputed  backward     all",
    ]
    for name, part in plan.flops.items():
        cells = [value / math.prod(plan.mesh) / 1e12 for value in (*part, part.total)]
        lines.append(f"  {name:<36} {cells[0]:9.3f} {cells[1]:11.3f} {cells[2]:9.3f} {cells[3]:7.3f}")
    lines.append(f"  {'all':<68} {plan.flops_per_chip / 1e12:7.3f}")
    if plan.movement is not None:
        lines += ["", f"through the memory of a chip, per step: {plan.movement.memory_bytes / 1e9:.1f} GB"]
        for kind, count in plan.movement.collectives.items():
            lines.append(f"  {count} x {kind}: a chip receives {plan.movement.link_bytes[kind] / 1e9:.2f} GB")
    elif plan.fits:
        lines += ["", "what is moved is unknown: this jaxlib cannot read the text of this libtpu"]
    bounds = ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in plan.bounds.items())
    lines += [
        "",
        f"a step takes at least {plan.seconds_lower_bound * 1e3:.0f} ms at the peaks of {chip.name} ({bounds})",
        f"so at most {plan.qa_pairs_per_hour:,.0f} question-answer pairs per hour",
    ]
    if plan.fits:
        lines.append(f"compiled in {plan.compile_seconds:.0f} s with {plan.process_bytes / _GIB:.1f} GiB of this machine's memory")
    return "\n".join(lines)


def _memory_lines(plan: Plan) -> list[str]:
    chip = plan.topology.chip
    if plan.memory is None:
        needs = "more" if plan.peak_bytes is None else f"{plan.peak_bytes / _GIB:.2f} GiB"
        return [f"does not fit: needs {needs} of {chip.hbm_bytes / _GIB:.2f} GiB; more of mesh.fsdp, or --sweep, may help"]
    return [
        "memory per chip (GiB)",
        f"  arguments  {plan.memory.arguments / _GIB:6.2f}",
        f"  temporary  {plan.memory.temporary / _GIB:6.2f}",
        f"  peak       {plan.memory.peak / _GIB:6.2f} of {chip.hbm_bytes / _GIB:.2f}: fits",
    ]


def mesh_name(plan: Plan) -> str:
    """`1x16x1`."""
    return "x".join(map(str, plan.mesh))


def table(plans: Sequence[Plan]) -> str:
    """A Markdown table with a row for each plan; the last columns are what the compiler took here."""
    rows = [
        "| topology | mesh | batch | peak GiB | of | TFLOP per chip | at least ms | pairs/h, at most | per chip | compiled in s | GiB |",
        "| --- " * 11 + "|",
        *map(table_row, plans),
    ]
    return "\n".join(rows)


def table_row(plan: Plan) -> str:
    """One row of `table`; what does not fit has no time."""
    peak = "?" if plan.peak_bytes is None else f"{plan.peak_bytes / _GIB:.2f}"
    cells = [
        plan.topology.name,
        mesh_name(plan),
        str(plan.config.data.batch_size),
        peak if plan.fits else f"{peak}, does not fit",
        f"{plan.topology.chip.hbm_bytes / _GIB:.2f}",
        f"{plan.flops_per_chip / 1e12:.2f}",
        f"{plan.seconds_lower_bound * 1e3:.0f}" if plan.fits else "",
        f"{plan.qa_pairs_per_hour:,.0f}" if plan.fits else "",
        f"{plan.qa_pairs_per_hour / math.prod(plan.mesh):,.0f}" if plan.fits else "",
        f"{plan.compile_seconds:.0f}" if plan.fits else "",
        f"{plan.process_bytes / _GIB:.1f}" if plan.fits else "",
    ]
    return f"| {' | '.join(cells)} |"


def to_json(plan: Plan) -> str:
    """One line for programs. Bytes are null where the compiler did not say; seconds are of the counted operations alone there."""
    return json.dumps(
        {
            "topology": plan.topology.name,
            "mesh": mesh_name(plan),
            "batch_size": plan.config.data.batch_size,
            "peak_bytes_per_chip": plan.peak_bytes,
            "hbm_bytes_per_chip": plan.topology.chip.hbm_bytes,
            "fits": plan.fits,
            "flops_per_chip": plan.flops_per_chip,
            "seconds_lower_bound": plan.seconds_lower_bound,
            "qa_pairs_per_hour": plan.qa_pairs_per_hour,
        }
    )
