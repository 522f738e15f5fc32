"""Runs the cast benchmark: `python -m pvchat_jax.benchmark --config=configs/cast.py:tiny`, or `--help`."""

from collections.abc import Sequence

from rich.console import Console

from pvchat_jax.command import nothing_needed, run_command
from pvchat_jax.config.benchmark_schema import BenchmarkConfig

HELP = """\
Personalises the tiny model to several drawn people, with several seeds, and asks it about videos that it has not seen,
beside the systems that would expose a cheat: always yes, always no, the question without its video, the base model
without personalisation, and a model that has learnt another person.

  python -m pvchat_jax.benchmark --config=configs/cast.py:tiny [--config.NAME=VALUE ...]

Every finished run is kept, so the same command goes on after a stop. Written to --config.output_dir:
  scores.json             means and spreads of every system, and every run's own numbers
  subject_N/seed_M/       each run: what was read off the video (looks.json), the clips, and stage2/

The settings most often changed:
  --config.subjects=0,1 --config.seeds=0     fewer runs; more can be added later
  --config.output_dir=DIRECTORY              another benchmark needs another one
"""


def run(config: BenchmarkConfig) -> None:
    """Runs, or continues, the benchmark and prints its tables.

    Raises:
      UserError: something that the user can mend.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    import json

    from pvchat_jax.benchmarking.run import run_benchmark
    from pvchat_jax.benchmarking.tables import heads, person_rows, print_table, system_rows
    from pvchat_jax.config.evaluation_schema import BASE, PERSONALIZED, QUESTION_ONLY

    console = Console()
    path = run_benchmark(config, console)
    values = json.loads(path.read_text(encoding="utf-8"))
    title = f"{values['num_runs']} runs, in percent, mean ± standard deviation"
    print_table(console, title, ["system", *heads()], system_rows(values))
    shown = [system for system in (PERSONALIZED, BASE, QUESTION_ONLY) if system in values["scores"]]  # the others are baselines
    print_table(console, "right about presence, by who is there", ["in the video", *shown], person_rows(values, shown))
    console.print(f"from video to model: {values['seconds']:.0f} s on average; everything is in {path}", markup=False, highlight=False)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    run_command("pvchat_jax.benchmark", argv, nothing_needed, run, description=HELP, kind=BenchmarkConfig, example="configs/cast.py:tiny")


if __name__ == "__main__":
    main()
