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
from pvchat_jax.config.run_directory import write_atomically
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.evaluate import HTML_FILE, JSON_FILE, evaluate_run
from pvchat_jax.evaluation.report import print_summary

SUBJECT = "<Wilson>"
PROGRESS_FILE = "quickstart.json"

_DESCRIPTION = """\
Makes a small world of videos about an invented person, trains a tiny model to recognise this person in two stages, and
reports how well it answers about videos that it has not seen. Needs no network and no accelerator.

Started again with the same --out, it skips what is finished and continues what was interrupted.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is made and trained; the default takes `minutes` on two cores."""

    train_videos: int = 400
    test_videos: int = 80
    stage1_steps: int = stage1.get_config("tiny").num_steps
    stage2_steps: int = stage2.get_config("tiny").num_steps
    minutes: str = "5 to 8 minutes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m pvchat_jax.quickstart", description=_DESCRIPTION, formatter_class=formatter)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("quickstart"), help="where everything goes (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the world and the training (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        with exit_on_user_error():
            run_quickstart(options.out, options.seed, Sizes(), Console())
    except KeyboardInterrupt as stop:
        print("\nstopped; start the same command again to continue.", file=sys.stderr)
        raise SystemExit(128 + getattr(stop, "signum", signal.SIGINT)) from None


def run_quickstart(out: Path, seed: int, sizes: Sizes, console: Console) -> None:
    """Does the parts that are not finished yet and says where everything is.

    Raises:
      UserError: `out` was begun with another seed or other sizes.
    """
    from pvchat_jax.train import run as train

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    begun = time.monotonic()
    parts: dict[str, tuple[str, Callable[[], object]]] = {
        "world": (f"draw {sizes.train_videos} training and {sizes.test_videos} test videos", lambda: _draw(out, seed, sizes, console)),
        "stage1": (f"train {sizes.stage1_steps} steps on single frames: who is it?", lambda: train(stage_config(1, out, seed, sizes))),
        "stage2": (f"train {sizes.stage2_steps} steps on video: what happens?", lambda: train(stage_config(2, out, seed, sizes))),
        "evaluation": ("ask about the test videos and write a report", lambda: _evaluate(out, console)),
    }
    settings = {"seed": seed, **dataclasses.asdict(sizes)}
    finished = _read_progress(out, settings)
    say(f"In {out}/, in {sizes.minutes} on two processor cores:")
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


def stage_config(stage: int, out: Path, seed: int, sizes: Sizes) -> TrainConfig:
    """The tiny preset of a stage, reading and writing in `out`."""
    config = (stage1 if stage == 1 else stage2).get_config("tiny")
    num_steps = sizes.stage1_steps if stage == 1 else sizes.stage2_steps
    return dataclasses.replace(
        config,
        num_steps=num_steps,
        seed=seed,
        output_dir=str(out / f"stage{stage}"),
        init_from=str(out / "stage1") if stage == 2 else "",
        data=dataclasses.replace(config.data, train=str(out / "world" / "train.jsonl"), subject=SUBJECT, seed=seed),
        optimizer=dataclasses.replace(config.optimizer, warmup_steps=min(config.optimizer.warmup_steps, num_steps // 2)),
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
        raise UserError(f"{out} was begun with {progress['settings']}, not {settings}; choose another --out, or delete that folder.")
    return progress["finished"]


def _draw(out: Path, seed: int, sizes: Sizes, console: Console) -> None:
    from pvchat_jax.world.build import build_world

    with Progress(console=console) as progress:
        bar = progress.add_task("drawing", total=None)
        numbers = {"num_train": sizes.train_videos, "num_test": sizes.test_videos, "seed": seed}
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
