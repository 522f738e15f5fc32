"""Runs the ablations: `python -m pvchat_jax.ablate --config=configs/ablations.py:tiny`, or `--help`."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.command import nothing_needed, run_command
from pvchat_jax.config.benchmark_schema import AblationConfig
from pvchat_jax.files import write_atomically

HELP = """\
Runs the cast benchmark once for each variant of the method: routers, objectives, initialisation, stages, kinds of
clips, subject tokens, LoRA rank. Every finished run is kept, so the same command goes on after a stop.

  python -m pvchat_jax.ablate --config=configs/ablations.py:tiny [--config.NAME=VALUE ...]

Written to --config.benchmark.output_dir:
  ablations.html, ablations.md   the questions with their tables, and a plot of each on the page
  VARIANT/                       the benchmark of each variant

The settings most often changed:
  --config.only=default,no_spr                   some of the variants
  --config.benchmark.subjects=0,1,2 --config.benchmark.seeds=0,1,2   more runs of each, which shrink the spread
"""


def run(config: AblationConfig) -> None:
    """Runs, or continues, the ablations and prints their tables.

    Raises:
      UserError: something that the user can mend.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    from pvchat_jax.benchmarking.ablation import run_ablations
    from pvchat_jax.benchmarking.page import write_ablation_page
    from pvchat_jax.benchmarking.tables import ablation_markdown, print_table, variant_columns, variant_rows
    from pvchat_jax.benchmarking.variants import QUESTIONS
    from pvchat_jax.config.evaluation_schema import PERSONALIZED

    console = Console()
    found = run_ablations(config, console)
    for question, names in QUESTIONS.items():
        if len(rows := variant_rows(found, names, PERSONALIZED)) > 1:
            print_table(console, question, variant_columns(), rows)
    out = Path(config.benchmark.output_dir)
    write_atomically(out / "ablations.md", ablation_markdown(found, PERSONALIZED))
    write_ablation_page(out / "ablations.html", found, PERSONALIZED)
    console.print(f"wrote {out}/ablations.html and ablations.md", markup=False, highlight=False)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    run_command("pvchat_jax.ablate", argv, nothing_needed, run, description=HELP, kind=AblationConfig, example="configs/ablations.py:tiny")


if __name__ == "__main__":
    main()
