"""Measures training: QA pairs per second and peak memory of the original's way and of what this code does better.

    python benchmarks/training_speed.py                                  # a mid size, on two cores in minutes
    python benchmarks/training_speed.py --size=8b --videos=2             # on a GPU with 141 GB

Every system trains on the same questions and answers in a step, with random weights and random videos; `training_systems.py` says
what they are. Each runs in a process of its own, one after the other and round after round, on one device. Prints tables for README.md.
"""

import argparse
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.training_systems import SIZES, SYSTEMS, arrange, configure, flop_shares, flops_per_pair, learnt_prefix, random_questions
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.devices import keep_freed_memory
from pvchat_jax.models.config import REMAT_POLICIES

# Dense bfloat16 peaks by a part of jax's `device_kind`, from NVIDIA's datasheets.
PEAKS = {"H200": 989.4e12, "H100": 989.4e12, "A100": 312e12}


def measure(size: TrainConfig, name: str, videos: int, questions: int, steps: int) -> dict[str, Any]:
    """Times `steps` training steps of a system after one that is not timed; memory is that of this process and its device."""
    import jax
    import jax.numpy as jnp
    from flax.traverse_util import flatten_dict, unflatten_dict

    from pvchat_jax.config.schema import MeshConfig
    from pvchat_jax.models.pvchat import build_pvchat
    from pvchat_jax.planning.estimate import read_memory
    from pvchat_jax.planning.program import Compiled
    from pvchat_jax.sharding import make_mesh, mesh_context, put_batch
    from pvchat_jax.training.initialise import abstract_params, random_params
    from pvchat_jax.training.partition import join_params, split_params, trainable_groups
    from pvchat_jax.training.state import create_train_state
    from pvchat_jax.training.step import dropout_stream, jit_train_step

    system = SYSTEMS[name]
    config = configure(size, system, videos, questions)
    prefix = learnt_prefix(config, system)
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype), prefix_length=prefix)
    like = join_params(*abstract_params(config, model, mesh))
    params = unflatten_dict(random_params(model, config, config.seed, flatten_dict(like, sep="/")), sep="/")
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    state, stream = create_train_state(trainable, config, mesh), dropout_stream(config.seed)
    batch = put_batch(arrange(random_questions(size, videos, questions), system, prefix), mesh)

    began = time.perf_counter()
    with mesh_context(mesh):
        step = jit_train_step(model, config, mesh, state).lower(state, frozen, batch, stream).compile()
    compiled = Compiled(step, time.perf_counter() - began, 0)
    seconds, processor, losses = [], [], []
    for _ in range(steps + 1):
        began, used = time.perf_counter(), time.process_time()
        state, metrics = step(state, frozen, batch, stream)
        losses.append(float(metrics["loss"]))  # waits for the step
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    device = jax.devices()[0]
    on_device = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "seconds": seconds[1:],
        "processor_seconds": processor[1:],
        "losses": losses,
        "peak_bytes": on_device or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "program_bytes": read_memory(compiled).peak,
        "device": device.device_kind,
        "jax": jax.__version__,
        "compile_seconds": compiled.seconds,
    }


def run_rounds(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Results of the processes by system, one of each round."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.systems}
    for number in range(arguments.rounds):
        for name in arguments.systems:
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", name]
            finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if finished.returncode:
                raise SystemExit(f"error: the system '{name}' failed; what it said is above.")
            results[name].append(json.loads(finished.stdout.splitlines()[-1]))
            last = results[name][-1]
            took = f"{min(last['seconds']):.2f} s a step, {min(last['processor_seconds']):.2f} s of a processor"
            took += f"; compiled in {last['compile_seconds']:.0f} s, loss {last['losses'][0]:.5f}"
            print(f"round {number + 1} of {arguments.rounds}, {name}: {took}", file=sys.stderr, flush=True)
    return results


def describe_run(arguments: argparse.Namespace, result: dict[str, Any]) -> str:
    """Command, commit and machine, line by line."""
    git = ["git", "-C", str(Path(__file__).parent)]
    commit = subprocess.run([*git, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    size = SIZES[arguments.size]()
    return "\n".join(
        (
            f"- command: `python benchmarks/training_speed.py {' '.join(sys.argv[1:])}`".replace(" `", "`").replace(":`", ": `"),
            f"- commit {commit or 'unknown'}; jax {result['jax']}, Python {platform.python_version()}",
            f"- machine: {result['device']}, {cores} cores ({platform.machine()}), {memory:.0f} GiB; load averages at the end {busy}",
            f"- size {arguments.size}: {arguments.videos} x {arguments.questions} QA pairs in a step, {size.compute_dtype}, "
            f"remat {arguments.remat or size.model.remat_policy}; {arguments.rounds} rounds of {arguments.steps} steps each",
        )
    )


def speed_table(arguments: argparse.Namespace, size: TrainConfig, results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a row for each system. Speed is that of the fastest step, since other work on a machine only ever adds time."""
    pairs = arguments.videos * arguments.questions
    first = next(iter(results))
    fastest = {name: min(second for result in rounds for second in result["seconds"]) for name, rounds in results.items()}
    rows = []
    for name, rounds in results.items():
        flops = flops_per_pair(size, SYSTEMS[name], arguments.questions).values()
        total, useful = sum(part.total for part in flops), sum(part.forward + part.backward for part in flops)
        first_total = sum(part.total for part in flops_per_pair(size, SYSTEMS[first], arguments.questions).values())
        peak = next((peak for kind, peak in PEAKS.items() if kind in rounds[0]["device"]), None)
        rows.append(
            (
                f"`{name}`: {SYSTEMS[name].title}",
                f"{pairs / fastest[name]:.3g}",
                f"{fastest[first] / fastest[name]:.2f}",
                f"{first_total / total:.2f}",
                f"{fastest[name]:.2f} ({statistics.median(second for result in rounds for second in result['seconds']):.2f})",
                f"{min(second for result in rounds for second in result['processor_seconds']):.2f}",
                f"{max(result['peak_bytes'] for result in rounds) / 2**30:.2f}",
                f"{max(result['program_bytes'] for result in rounds) / 2**30:.2f}",
                f"{total / 1e9:,.2f}",
                f"{total * pairs / fastest[name] / 1e9:,.0f}",
                f"{100 * useful * pairs / fastest[name] / peak:.1f} %" if peak else "-",
            )
        )
    header = (
        "system",
        "QA pairs/s",
        f"x `{first}`",
        "x by FLOPs",
        "s/step, best (median)",
        "processor s/step",
        "peak GiB",
        "program GiB",
        "GFLOP/pair",
        "GFLOP/s",
        "MFU",
    )
    return markdown(header, rows)


def flops_table(questions: int) -> str:
    """Markdown: counted operations of each size by system, and the parts' shares."""
    sizes = {name: make() for name, make in SIZES.items()}
    parts = list(flop_shares(sizes["8b"], SYSTEMS["reference"], questions))
    rows = []
    for name, system in SYSTEMS.items():
        for label, size in sizes.items():
            total = sum(part.total for part in flops_per_pair(size, system, questions).values())
            whole = sum(part.total for part in flops_per_pair(size, SYSTEMS["reference"], questions).values())
            shares = flop_shares(size, system, questions)
            percent = (f"{100 * shares[part]:.1f}" for part in parts)
            rows.append((f"`{name}`", label, f"{total / 1e9:,.2f}", f"{whole / total:.2f}", *percent))
    return markdown(("system", "size", "GFLOP/pair", "x less", *(f"{part}, %" for part in parts)), rows)


def markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table as README.md has it."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="mid", help="of the model (default: mid)")
    parser.add_argument("--videos", type=positive, default=1, help="in a step (default: 1)")
    parser.add_argument("--questions", type=positive, default=25, help="about each video (default: 25)")
    parser.add_argument("--steps", type=positive, default=3, help="timed in a round (default: 3)")
    parser.add_argument("--rounds", type=positive, default=2, help="over all systems (default: 2)")
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=tuple(SYSTEMS), help="others are compared with the first")
    parser.add_argument("--remat", choices=REMAT_POLICIES, help="what the backward pass computes again (default: none)")
    parser.add_argument("--count", action="store_true", help="only print the counted operations")
    parser.add_argument("--measure", choices=tuple(SYSTEMS), help=argparse.SUPPRESS)
    return parser.parse_args()


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def main() -> None:
    arguments = parse_arguments()
    size = SIZES[arguments.size]()
    if arguments.remat:
        size = dataclasses.replace(size, model=dataclasses.replace(size.model, remat_policy=arguments.remat))
    if arguments.measure:
        keep_freed_memory()
        print(json.dumps(measure(size, arguments.measure, arguments.videos, arguments.questions, arguments.steps)))
        return
    print(f"Counted, at {arguments.questions} questions about a video:\n\n{flops_table(arguments.questions)}\n", flush=True)
    if arguments.count:
        return
    results = run_rounds(arguments)
    print(f"{describe_run(arguments, results[arguments.systems[0]][0])}\n\n{speed_table(arguments, size, results)}")


if __name__ == "__main__":
    main()
