"""Personalises the tiny model from one video: `python -m pvchat_jax.personalise --config=configs/personalise.py:tiny`, or `--help`."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.command import run_command
from pvchat_jax.config.personalise_schema import PersonaliseConfig
from pvchat_jax.errors import UserError

HELP = """\
Learns the person of one video, three to six minutes on two cores: reads what the person looks like, draws clips of the
person and of others who may look alike, trains both stages on these, and chooses the threshold between yes and no.
The packaged base model knows drawn people alone, such as those of python -m pvchat_jax.world.

  python -m pvchat_jax.personalise --config=configs/personalise.py:tiny --config.video=FILE.mp4 [--config.NAME=VALUE ...]

Started again with the same settings, it continues where it was. Written to --config.output_dir:
  looks.json           what was read off the video, and how sure that is; look at it first
  clips/               the drawn clips with their questions and answers
  stage1/ and stage2/  the training runs; ask the second with python -m pvchat_jax.evaluate --run=OUTPUT_DIR/stage2 --records=FILE

The settings most often changed:
  --config.stage1.data.subject='<Ann>' --config.stage2.data.subject='<Ann>'   the name in the questions
  --config.num_clips=1200            more clips, which take longer
  --config.stage2.num_steps=600      more training
"""


def require_video(config: PersonaliseConfig) -> None:
    """Raises UserError where the one video is missing."""
    if not Path(config.video).is_file():
        raise UserError(f"there is no video '{config.video}'; name the one video with --config.video=FILE.")


def run(config: PersonaliseConfig) -> None:
    """Personalises as `config` says and says where the result is.

    Raises:
      UserError: something that the user can mend.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    from pvchat_jax.personalisation.run import personalise

    console = Console()
    done = personalise(config, console)
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in done.seconds.items())
    console.print(f"wrote {done.run} ({parts})", markup=False, highlight=False)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    example = "configs/personalise.py:tiny"
    run_command("pvchat_jax.personalise", argv, require_video, run, description=HELP, kind=PersonaliseConfig, example=example)


if __name__ == "__main__":
    main()
