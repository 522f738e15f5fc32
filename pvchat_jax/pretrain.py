"""Trains the tiny base model: `python -m pvchat_jax.pretrain --config=configs/base.py:tiny`, or `--help`."""

from collections.abc import Sequence

from rich.console import Console

from pvchat_jax.command import nothing_needed, run_command
from pvchat_jax.config.pretrain_schema import PretrainConfig

HELP = """\
Trains the tiny base model, which quickstart and the benchmark personalise, on drawn people.
One to two hours on two cores. Started again with the same settings, it continues where it was.

  python -m pvchat_jax.pretrain --config=configs/base.py:tiny [--config.NAME=VALUE ...]

Written to --config.output_dir:
  pictures/                  the drawn videos (1.3 GB)
  parts/                     the segmenter, a run with checkpoints and numbers; --config.only_parts=True stops after it
  image/, video/, language/  the three phases of the model, likewise
  export/                    model.safetensors, segmenter.safetensors and what they score; copy it to pvchat_jax/tiny_base to ship it
"""


def run(config: PretrainConfig) -> None:
    """Trains, or continues, the base model that `config` describes and says where its files are.

    Raises:
      UserError: something that the user can mend.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    from pvchat_jax.pretraining.run import pretrain

    console = Console()
    console.print(f"wrote {pretrain(config, console)}", markup=False, highlight=False)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    run_command("pvchat_jax.pretrain", argv, nothing_needed, run, description=HELP, kind=PretrainConfig, example="configs/base.py:tiny")


if __name__ == "__main__":
    main()
