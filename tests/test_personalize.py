"""From one drawn video to an evaluated model, with the command that users type."""

import datetime
import json
from pathlib import Path

import pytest

from pvchat_jax import personalize, subjects
from pvchat_jax.data.record_files import load_records
from pvchat_jax.evaluation.threshold import read_threshold
from pvchat_jax.world.build import build_world
from pvchat_jax.world.corpus import build_corpus

pytest.importorskip("cv2")
SEED = 5


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> list[str]:
    """A drawn person's video, two others of them, a corpus with people who look alike, and a very short training."""
    folder = tmp_path_factory.mktemp("drawn")
    build_world(folder / "world", num_train=0, num_test=3, seed=SEED, workers=1)
    build_corpus(folder / "corpus", seed=1, subjects=(SEED,), num_second=0, num_others=12)
    videos = folder / "world" / "videos"
    return [
        "--config=configs/personalize.py:tiny",
        "--config.with_stage1=True",
        f"--video={videos / 'reference.mp4'}",
        "--name=<Wilson>",
        f"--out={folder / 'data' / 'wilson'}",
        f"--corpus={folder / 'corpus' / 'videos'}",
        *(f"--test_video={videos / name}" for name in ("test_000000.mp4", "test_000002.mp4")),
        "--consent_by=Wilson",
        f"--consent_until={datetime.date.today() + datetime.timedelta(days=9)}",
        "--config.synthesis.num_clips=52",
        "--config.synthesis.num_calibration=8",
        "--config.synthesis.num_others=20",
        *(f"--config.{stage}.{setting}" for stage in ("stage1", "stage2") for setting in ("num_steps=2", "optimizer.warmup_steps=1")),
    ]


def written(out: Path) -> dict[str, int]:
    """When each checkpoint and threshold was last written; a finished run reads all else again, and says so in files of its own."""
    files = [*out.glob("stage*/checkpoints/**/*"), *out.glob("stage*/threshold.json")]
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}


def test_one_drawn_video_becomes_a_set_a_model_and_a_report_and_is_forgotten(arguments: list[str]) -> None:
    out = Path(next(argument for argument in arguments if argument.startswith("--out=")).removeprefix("--out="))
    personalize.main(arguments)
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["is_good"], verdict
    records = load_records(out / "train.jsonl", "<Wilson>")
    made = [record for record in records if record.origin == "composited"]
    assert sum(record.present for record in made) >= 15
    assert {question.type for record in records for question in record.questions} == {"existence", "appearance", "action", "location"}
    assert read_threshold(out / "stage2") is not None
    assert (out / "evaluation" / "report.html").is_file()
    before = written(out)
    assert before
    personalize.main(arguments)
    assert written(out) == before
    root = out.parent
    subjects.main(["forget", "Wilson", f"--root={root}", f"--receipts={root.parent / 'receipts'}", "--yes"])
    assert not list(root.iterdir())
