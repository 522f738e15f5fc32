"""From one video to a personalised model and its report, on a laptop's processor.

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

from configs import drawn_person
from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig
from pvchat_jax.config.evaluation_schema import BASE, QUESTION_ONLY
from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.evaluation.report import print_summary
from pvchat_jax.files import write_atomically

SUBJECT = "<Wilson>"
PROGRESS_FILE = "quickstart.json"

_DESCRIPTION = """\
Shows a person being learnt from one video: draws a video of an invented person, one of each of many other people, and test
videos of this person, of look-alikes and of strangers; cuts everybody out and puts them together anew in training clips;
personalises the packaged tiny model with these; asks it about the test videos; and writes a report beside the systems that
would expose a cheat. Needs no network and no accelerator.

Started again with the same --out, it skips what is finished and continues what was interrupted.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made and trained; the default takes about `minutes` on two processor cores."""

    test_videos: int = 160
    personalise: DrawnPersonConfig = dataclasses.field(default_factory=lambda: drawn_person.get_config("one_shot"))
    minutes: str = "5 to 8 minutes"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m pvchat_jax.quickstart", description=_DESCRIPTION, formatter_class=formatter)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("quickstart"), help="where everything goes (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the world and the training (default: %(default)s)")
    options = parser.parse_args(arguments)
    prepare_jax()
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

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    begun = time.monotonic()
    paths = {"video": out / "world" / "videos" / "reference.mp4", "corpus": out / "corpus", "output_dir": out / "wilson"}
    config = dataclasses.replace(plan.personalise, seed=seed, **{name: str(path) for name, path in paths.items()})
    parts: dict[str, tuple[str, Callable[[], object]]] = {
        "world": (f"draw one video of {SUBJECT}, some of others, {plan.test_videos} test videos", lambda: _draw(out, seed, plan, console)),
        "wilson": (f"learn {SUBJECT} from the one video", lambda: _personalise(config, console)),
        "evaluation": ("ask about the test videos and write a report", lambda: _evaluate(out, config, console)),
    }
    settings = {"seed": seed} | {name: title for name, (title, _) in parts.items()}
    finished = _read_progress(out, settings)
    say(f"In {out}/, in {plan.minutes} on two processor cores:")
    say("\n".join(f"  {number}. {title}" for number, (title, _) in enumerate(parts.values(), start=1)))
    for number, (name, (title, work)) in enumerate(parts.items(), start=1):
        if name in finished and (out / name).is_dir():
            say(f"{number}. {title}: done before")
            continue
        say(f"{number}. {title}")
        work()
        finished = [*finished, name]
        write_atomically(out / PROGRESS_FILE, json.dumps({"settings": settings, "finished": finished}) + "\n")
    say(_ending(out, time.monotonic() - begun))


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
    from pvchat_jax.world.corpus import build_corpus_around
    from pvchat_jax.world.progress import build_with_bar, video_bar

    build_with_bar(console, "drawing videos", out / "world", subject=SUBJECT, num_test=plan.test_videos, seed=seed)
    if plan.personalise.clip_source == "composited":
        with video_bar(console, "drawing other people") as show:
            build_corpus_around(out / "corpus", seed, show)


def _personalise(config: DrawnPersonConfig, console: Console) -> None:
    from pvchat_jax.personalisation.run import personalise as run

    done = run(config, console)
    console.print(f"learnt in {sum(done.seconds.values()):.0f} s", markup=False, highlight=False)


def _evaluate(out: Path, config: DrawnPersonConfig, console: Console) -> None:
    from pvchat_jax.sweeps.single import evaluate_run

    run, records = out / "wilson" / "stage2", out / "world" / "test.jsonl"
    print_summary(evaluate_run(run, records, out / "evaluation", systems=(BASE, QUESTION_ONLY), seed=config.seed, console=console), console)


def _ending(out: Path, seconds: float) -> str:
    return f"""
Finished in {seconds // 60:.0f} min {seconds % 60:.0f} s. What there is now:
  {out}/evaluation/report.html: the report, to be opened in a browser; every answer is in evaluation.json beside it
  {out}/world/: the one video (videos/reference.mp4) and the test videos with test.jsonl
  {out}/wilson/: what was read off the one video (looks.json), the clips made of its pixels, and the training run
To go on:
  python -m pvchat_jax.validate {out}/wilson/train.jsonl
  python -m pvchat_jax.personalize --help
  python -m pvchat_jax.evaluate --run={out}/wilson/stage2 --records=YOUR_RECORDS.jsonl
  python -m pvchat_jax.benchmark --help"""


if __name__ == "__main__":
    sys.exit(main())
