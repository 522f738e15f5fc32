"""What a training run needs and how fast it can be on TPUs that are not there: `python -m pvchat_jax.plan --help`."""

import argparse
import dataclasses
import math
import os
import sys
import time
from collections.abc import Sequence

from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.planning.topologies import Topology, parse_topology

HELP = """\
Compiles the training step with the real TPU compiler and tells memory, operations, the least time of a step, and the
largest batch. Needs no TPU, no weights and no records, but the compiler: pip install 'pvchat_jax[plan]'.

  python -m pvchat_jax.plan --config=FILE[:PRESET] --topology=v5e:4x4 [--config.NAME=VALUE ...]

  --topology=CHIP:GRID[,...]   chips to plan for: v4, v5e, v5p, v6e; several are compared, each compiled once
  --sweep                      compare meshes, on the smallest slices of every chip without --topology, and recommend one
  --json                       end with one line of JSON

Each compilation of the full model takes minutes. The plan of one topology compiles up to four times more, to find the largest
batch. Rows have the first length of data.text_buckets; name another for longer ones. Exits with 0 also where nothing fits.
"""


def parse_arguments(argv: Sequence[str]) -> tuple[TrainConfig, list[Topology], argparse.Namespace]:
    """Configuration, slices, and the namespace with `sweep` and `json`.

    Raises:
      UserError: something about them is wrong or missing.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--topology", default="")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments, rest = parser.parse_known_args(list(argv))
    config = parse_command_line(rest, description=HELP, example="configs/stage2.py:8b")
    topologies = [parse_topology(name) for name in arguments.topology.split(",") if name]
    if not topologies and not arguments.sweep:
        raise UserError("no --topology was given; name one, such as --topology=v5e:4x4, or compare several with --sweep.")
    return config, topologies, arguments


def plan_one(config: TrainConfig, topology: Topology, as_json: bool) -> None:
    """Prints the plan of one slice, and the largest batch that fits on it."""
    from pvchat_jax.planning.estimate import make_plan
    from pvchat_jax.planning.largest_batch import largest_batch
    from pvchat_jax.planning.report import describe_plan, to_json

    say(f"compiling the step for {topology.name}; the full model takes minutes")
    plan = make_plan(config, topology)
    print(describe_plan(plan), flush=True)

    def peak_of(batch: int) -> int | None:
        if batch == config.data.batch_size:
            tried = plan
        else:
            say(f"trying batches of {batch} videos")
            tried = make_plan(dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch)), topology)
        return tried.peak_bytes if tried.fits else None

    multiple = math.prod(plan.mesh[:2]) * config.optimizer.gradient_accumulation
    largest = largest_batch(peak_of, config.data.batch_size, multiple, topology.chip.hbm_bytes)
    print(f"the largest batch that was tried and fits: {largest} videos" if largest else "no batch fits", flush=True)
    if as_json:
        print(to_json(plan))


def compare(config: TrainConfig, topologies: Sequence[Topology], as_json: bool, *, meshes: bool) -> None:
    """Prints a row for every slice, with `meshes` for several meshes on each, and which to take."""
    from pvchat_jax.planning.estimate import make_plan
    from pvchat_jax.planning.report import table, table_row, to_json
    from pvchat_jax.planning.sweep import candidate_meshes, default_topologies, recommend, sweep

    topologies = topologies or default_topologies()
    heads = config.model.language_model.num_kv_heads
    total = sum(len(candidate_meshes(topology.num_chips, heads)) if meshes else 1 for topology in topologies)
    say(f"up to {total} compilations; the full model takes minutes for each")
    began, plans = time.monotonic(), []
    for plan in sweep(config, topologies) if meshes else (make_plan(config, topology) for topology in topologies):
        plans.append(plan)
        left = (time.monotonic() - began) / len(plans) * (total - len(plans))
        say(f"{len(plans)}/{total}, about {left / 60:.0f} min left: {table_row(plan)}")
    print(table(plans))
    best = recommend(plans)
    sizes = zip(("mesh.data", "mesh.fsdp", "mesh.tensor", "data.batch_size"), (*best.mesh, best.config.data.batch_size), strict=True)
    print(f"recommended: {best.topology.name} with", " ".join(f"--config.{name}={size}" for name, size in sizes), flush=True)
    if as_json:
        print(to_json(best))


def say(line: str) -> None:
    """Progress, apart from results."""
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exits with 2 for a `UserError`."""
    with exit_on_user_error():
        config, topologies, arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the compiler is asked directly; a TPU that is there stays free
        if arguments.sweep or len(topologies) > 1:
            compare(config, topologies, arguments.json, meshes=arguments.sweep)
        else:
            plan_one(config, topologies[0], arguments.json)


if __name__ == "__main__":
    main()
