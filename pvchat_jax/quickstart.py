"""From nothing to a personalised model and its report, on a laptop's processor.

python -m pvchat_jax.quickstart
"""

import argparse
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from configs import stage1, stage2
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.evaluate import HTML_FILE, JSON_FILE, evaluate_run
from pvchat_jax.evaluation.report import print_summary
from pvchat_jax.files import write_atomically

SUBJECT = "<Wilson>"
PROGRESS_FILE = "quickstart.json"

_DESCRIPTION = """\
Makes a small world of videos about an invented person, trains a tiny model to recognise this person in two stages, and
reports how well it answers about videos that it has not seen. Needs no network and no accelerator.

Started again with the same --out, it skips what is finished and continues what was interrupted.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made and trained; the default takes about `minutes` on two processor cores."""

    train_videos: int = 400
    test_videos: int = 80
    stages: tuple[TrainConfig, TrainConfig] = (stage1.get_config("tiny"), stage2.get_config("tiny"))
    minutes: str = "6 to 8 minutes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m pvchat_jax.quickstart", description=_DESCRIPTION, formatter_class=formatter)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("quickstart"), help="where everything goes (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the world and the training (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        with exit_on_user_error():
            run_quickstart(options.out, options.seed, Plan(), Console())
    except KeyboardInterrupt as stop:
        print("\nstopped; start the same command again to continue.", file=sys.stderr)
        raise SystemExit(128 + getattr(stop, "signum", signal.SIGINT)) from None


def run_quickstart(out: Path, seed: int, plan: Plan, console: Console) -> None:
    """Does the parts of `plan` that are not finished yet and says where everything is.

    Raises:
      UserError: `out` was begun with another seed or plan.
    """
    from pvchat_jax.train import run as train

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    begun = time.monotonic()
    first, second = (_stage_config(config, out, seed) for config in plan.stages)
    parts: dict[str, tuple[str, Callable[[], object]]] = {
        "world": (f"draw {plan.train_videos} training and {plan.test_videos} test videos", lambda: _draw(out, seed, plan, console)),
        "stage1": (f"train {first.num_steps} steps on single frames: who is it?", lambda: train(first)),
        "stage2": (f"train {second.num_steps} steps on video: what happens?", lambda: train(second)),
        "evaluation": ("ask about the test videos and write a report", lambda: _evaluate(out, console)),
    }
    settings = {"seed": seed} | {name: title for name, (title, _) in parts.items()}
    finished = _read_progress(out, settings)
    say(f"In {out}/, in {plan.minutes} on two processor cores:")
    for number, (title, _) in enumerate(parts.values(), start=1):
        say(f"  {number}. {title}")
    for number, (name, (title, work)) in enumerate(parts.items(), start=1):
        if name in finished and (out / name).is_dir():
            say(f"{number}. {title}: done before")
            continue
        say(f"{number}. {title}")
        work()
        finished = [*finished, name]
        write_atomically(out / PROGRESS_FILE, json.dumps({"settings": settings, "finished": finished}) + "\n")
    say(_ending(out, time.monotonic() - begun))


def _stage_config(config: TrainConfig, out: Path, seed: int) -> TrainConfig:
    """`config`, reading and writing in `out`."""
    return dataclasses.replace(
        config,
        seed=seed,
        output_dir=str(out / f"stage{config.stage}"),
        init_from=str(out / "stage1") if config.stage == 2 else "",
        data=dataclasses.replace(config.data, train=str(out / "world" / "train.jsonl"), subject=SUBJECT, seed=seed),
    )


def _read_progress(out: Path, settings: dict[str, object]) -> list[str]:
    """Names of the finished parts; makes `out` if there is none."""
    path = out / PROGRESS_FILE
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"settings": settings, "finished": []}) + "\n")
        return []
    progress = json.loads(path.read_text(encoding="utf-8"))
    if progress["settings"] != settings:
        raise UserError(f"{out} was begun with another seed or by another version; choose another --out, or delete that folder.")
    return progress["finished"]


def _draw(out: Path, seed: int, plan: Plan, console: Console) -> None:
    from pvchat_jax.world.build import build_world

    with Progress(console=console) as progress:
        bar = progress.add_task("drawing", total=None)
        numbers = {"num_train": plan.train_videos, "num_test": plan.test_videos, "seed": seed}
        build_world(
            out / "world", subject=SUBJECT, **numbers, progress=lambda done, total: progress.update(bar, completed=done, total=total)
        )


def _evaluate(out: Path, console: Console) -> None:
    print_summary(evaluate_run(out / "stage2", out / "world" / "test.jsonl", out / "evaluation", console=console), console)


def _ending(out: Path, seconds: float) -> str:
    return f"""
Finished in {seconds // 60:.0f} min {seconds % 60:.0f} s. What there is now:
  {out}/evaluation/{HTML_FILE}: the report, to be opened in a browser; every answer is in {JSON_FILE} beside it
  {out}/world/: the videos with train.jsonl and test.jsonl
  {out}/stage1/ and {out}/stage2/: the two training runs
To go on:
  python -m pvchat_jax.validate {out}/world/train.jsonl
  python -m pvchat_jax.train --config=configs/stage1.py:tiny --help
  python -m pvchat_jax.evaluate --run={out}/stage2 --records=YOUR_RECORDS.jsonl"""


if __name__ == "__main__":
    sys.exit(main())
