"""All variants of the method on the same subjects and seeds."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pvchat_jax.benchmarking.run import run_benchmark
from pvchat_jax.benchmarking.variants import VARIANTS, variant
from pvchat_jax.config.benchmark_schema import AblationConfig
from pvchat_jax.errors import UserError


def run_ablations(config: AblationConfig, console: Console) -> dict[str, Mapping[str, Any]]:
    """Runs every variant that is not finished and returns the contents of each one's `scores.json` by name.

    Raises:
      UserError: `config.only` names an unknown variant, or a folder holds another benchmark.
      pvchat_jax.training.loop.Interrupted: a signal came; the same call goes on from there.
    """
    unknown = sorted(set(config.only) - set(VARIANTS))
    if unknown:
        raise UserError(f"there is no variant {unknown[0]}; choose from {', '.join(VARIANTS)}.")
    found = {}
    for name in config.only or VARIANTS:
        console.rule(f"variant {name}")
        benchmark = dataclasses.replace(
            config.benchmark,
            output_dir=str(Path(config.benchmark.output_dir) / name),
            shared_dir=str(Path(config.benchmark.output_dir) / "shared"),
            personalise=variant(config.benchmark.personalise, name),
        )
        found[name] = json.loads(run_benchmark(benchmark, console).read_text(encoding="utf-8"))
    return found
