"""Trains PVChat: `python -m pvchat_jax.train --config=configs/stage1.py:tiny`, or `--help`."""

from collections.abc import Sequence
from pathlib import Path

from pvchat_jax.command import run_command
from pvchat_jax.config.inputs import require_inputs
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.devices import prepare_jax

HELP = """\
Trains PVChat and writes checkpoints, numbers and curves into an output directory.
Started again with the same settings, it continues from its last checkpoint.

  python -m pvchat_jax.train --config=FILE[:PRESET] [--config.NAME=VALUE ...]

Files    configs/stage1.py   single frames: who is this?
         configs/stage2.py   video: what does the person do? Starts from stage 1.
Presets  8b                  the full model, from converted weights (default)
         tiny                a model that trains on a laptop
         reference           the full model, trained the way the original was

The settings most often changed:
  --config.data.train=FILE              records to train on: JSONL, or a JSON of the original project
  --config.data.subject='<Wilson>'      the name as it stands in the questions
  --config.output_dir=DIRECTORY         where the run lives; a new run needs a new one
  --config.num_steps=2000               steps in all
  --config.data.batch_size=8            videos per step, over all devices
  --config.optimizer.lora=1e-4          learning rate of a group of parameters; 0 freezes the group
  --config.optimizer.gradient_accumulation=4   micro-batches per step, to save memory
  --config.mesh.fsdp=8                  devices that share the parameters
  --config.checkpoint.every_steps=100   steps between checkpoints

Add --help to a --config to see all of its settings. SIGTERM and Ctrl-C save before they stop.

On several hosts start the same command on each of them: TPU pods, Slurm, Open MPI and GKE are recognised, and elsewhere
JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID say it. launch/ has scripts.
"""


def run(config: TrainConfig) -> Path:
    """Trains, or continues, the run that `config` describes.

    Returns:
      The run's output directory.

    Raises:
      UserError: something is missing or wrong that the user can mend, found before training where possible.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    require_inputs(config)
    prepare_jax()
    # Only now: the rest takes seconds to import, and a missing file should show at once.
    from pvchat_jax.training.run import train_run

    return train_run(config)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exits with 2 for a `UserError` and with 128 plus the signal's number when stopped."""
    run_command(
        "pvchat_jax.train",
        argv,
        require_inputs,
        run,
        description=HELP,
        kind=TrainConfig,
        example="configs/stage1.py:tiny",
        several_processes=True,
    )


if __name__ == "__main__":
    main()
