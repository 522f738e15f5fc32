"""From one video of a person to a model that knows them: `python -m pvchat_jax.personalize --video=FILE --name=NAME --out=DIR`."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from configs import personalize, stage2
from pvchat_jax.config.inputs import require_inputs
from pvchat_jax.config.personalize_schema import PersonalizeConfig
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.evaluation.report import print_summary
from pvchat_jax.evaluation.threshold import read_threshold
from pvchat_jax.synthesis.arguments import Arguments, parse
from pvchat_jax.synthesis.command import run_synthesis
from pvchat_jax.synthesis.exporting.assembling import Outcome
from pvchat_jax.synthesis.pipeline import STAGES

PROGRAM = "pvchat_jax.personalize"
_DESCRIPTION = """\
Turns one video of a person into a model that knows them: makes a training set as python -m pvchat_jax.synthesize does,
with the same arguments, trains both stages on it, chooses the threshold between yes and no, and asks about the test
videos. A set that is not good enough to train on ends it, with what to film next.

Started again with the same arguments, it goes on where it was stopped. Written to --out, besides the training set:
  stage1/ and stage2/   the training runs
  evaluation/           the report on the test videos, if --test_video names any
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.personalize --video=wilson.mp4 --name='<Wilson>' --out=data/wilson --corpus=faces --test_video=later.mp4
  python -m pvchat_jax.personalize --video=world/videos/reference.mp4 --name=Wilson --out=data/drawn --config=configs/personalize.py:tiny
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exits with 2 for a `UserError`, and with 1 when the set is not good enough to train on."""
    prepare_jax()
    console = Console()
    try:
        with exit_on_user_error():
            arguments, config = parse(argv, PROGRAM, _DESCRIPTION, _EPILOG, list(STAGES), PersonalizeConfig, personalize.get_config)
            require_base(config)
            outcome = run_synthesis(arguments, config.synthesis, stage2.get_config("tiny"), console)
            if outcome is not None and outcome.verdict.is_good:
                learn(arguments, config, outcome, console)
    except KeyboardInterrupt as stop:
        print("\nstopped; start the same command again to continue.", file=sys.stderr)
        raise SystemExit(128 + getattr(stop, "signum", signal.SIGINT)) from None
    if outcome is not None and not outcome.verdict.is_good:
        raise SystemExit(1)


def require_base(config: PersonalizeConfig) -> None:
    """Raises UserError where the weights are missing, before hours go into the training set."""
    for stage in (config.stage1, config.stage2):
        if stage.weights not in ("", "tiny") and not Path(stage.weights).exists():
            raise UserError(
                f"there are no weights in {stage.weights}; convert them with python -m converters.from_torch, "
                "or choose --config=configs/personalize.py:tiny for drawn people."
            )


def learn(arguments: Arguments, config: PersonalizeConfig, outcome: Outcome, console: Console) -> None:
    """Trains on the set, calibrates and evaluates; each part that is finished is kept.

    Raises:
      UserError: something that the user can mend.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    from pvchat_jax.sweeps.single import HTML_FILE, evaluate_run  # seconds to import
    from pvchat_jax.training.run import train_run

    stages: list[TrainConfig] = config.training(arguments.out, arguments.name, outcome.files)
    for stage in stages:
        require_inputs(stage)
        train_run(stage)
    run = Path(stages[-1].output_dir)
    if "calibration" in outcome.files and read_threshold(run) is None:
        from pvchat_jax.personalisation.run import calibrate_run

        calibrate_run(run, outcome.files["calibration"], arguments.name)
    if "test" not in outcome.files:
        console.print(f"wrote {run}; there is no test set, which --test_video=FILE would give.", markup=False, highlight=False)
        return
    report = arguments.out / "evaluation"
    print_summary(evaluate_run(run, outcome.files["test"], report, console=console), console)
    console.print(f"wrote {run} and {report / HTML_FILE}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
