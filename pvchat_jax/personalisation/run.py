"""One subject from video to personalised model: every part is kept and skipped when the same command runs again."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from rich.console import Console

from pvchat_jax.config.drawn_person_schema import CLIP_SETS, DrawnPersonConfig
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.data.record_files import load_records, write_records
from pvchat_jax.data.records import Record
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.generation import answer_records
from pvchat_jax.evaluation.presence_calibration import Scored, fit_calibration, write_calibration
from pvchat_jax.evaluation.probes import probe_questions
from pvchat_jax.evaluation.selection import choose_records
from pvchat_jax.evaluation.threshold import choose_threshold, read_threshold, write_threshold
from pvchat_jax.personalisation.composited_clips import composite_clips
from pvchat_jax.personalisation.cut_people import CutPerson, Eyes, cut_corpus, cut_subject
from pvchat_jax.personalisation.looks import Looks, read_looks, write_looks
from pvchat_jax.sharding import make_mesh
from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader
from pvchat_jax.synthesis.segmenting.tiny_base import TinyBaseSegmenter
from pvchat_jax.training.initialise import load_run
from pvchat_jax.training.run import train_run
from pvchat_jax.training.weights import weights_directory
from pvchat_jax.world.people import Identity, people_group
from pvchat_jax.world.progress import build_with_bar, video_bar
from pvchat_jax.world.staging import NUM_FRAMES

LOOKS_FILE = "looks.json"
CLIPS_SEED_OFFSET = 1_000_000  # drawn clips share no seed with the worlds of subjects


class Personalised(NamedTuple):
    """`run` is the directory of the last stage; `seconds` by part, of what this call did."""

    run: Path
    looks: Looks
    seconds: dict[str, float]


def personalise(config: DrawnPersonConfig, console: Console) -> Personalised:
    """Reads who is in `config.video`, draws clips of that person and others, trains, and chooses the threshold.

    Raises:
      UserError: the video or the base cannot be used.
      pvchat_jax.training.loop.Interrupted: a signal came and everything was saved.
    """
    out = Path(config.output_dir)
    seconds: dict[str, float] = {}
    timed = _Stopwatch(seconds)
    looks = timed("reading", lambda: read_looks(Path(config.video), weights_directory(config.weights), config.stage2))
    write_looks(out / LOOKS_FILE, looks)
    if config.clip_source == "composited":
        eyes = Eyes(TinyBaseReader(config.weights, config.stage2), TinyBaseSegmenter(config.weights))
        people = timed("cutting out the corpus", lambda: _cut_corpus(config, eyes, console))
        clips = timed("compositing", lambda: _composite(config, eyes, people, console))
    else:
        clips = timed("drawing", lambda: _draw_clips(config, looks, console))
    records = out / "train.jsonl"
    write_records(records, choose_clips(load_records(clips.train, config.subject), config))
    for stage in training_stages(config, records):
        timed(f"stage {stage.stage}", lambda stage=stage: train_run(stage))
    run = Path(stage.output_dir)
    if read_threshold(run) is None:
        timed("calibrating", lambda: calibrate_run(run, clips.calibration, config.subject))
    return Personalised(run, looks, seconds)


class _Stopwatch:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    def __call__(self, name: str, part: Callable[[], object]) -> object:
        start = time.monotonic()
        result = part()
        self._seconds[name] = time.monotonic() - start
        return result


class ClipPaths(NamedTuple):
    """Records of the clips."""

    train: Path
    calibration: Path


def _draw_clips(config: DrawnPersonConfig, looks: Looks, console: Console) -> ClipPaths:
    """Clips with the frames that the model looks at and no more: drawing the others would take most of the time."""
    looked_at = config.stage2.data.num_frames
    paths = build_with_bar(
        console,
        "drawing clips",
        Path(config.shared_dir or config.output_dir) / "clips",
        subject=config.subject,
        num_train=config.num_clips,
        num_calibration=config.num_calibration,
        seed=CLIPS_SEED_OFFSET + config.seed,
        believed=looks.subject,
        num_frames=looked_at if NUM_FRAMES % looked_at == 0 else NUM_FRAMES,
    )
    return ClipPaths(paths.train, paths.calibration)


def _cut_corpus(config: DrawnPersonConfig, eyes: Eyes, console: Console) -> list[CutPerson]:
    """The people of the corpus, who are cut out once and then found beside the videos."""
    if not config.corpus:
        raise UserError("composited clips need other people; name a folder with one video of each with --config.corpus=FOLDER.")
    with video_bar(console, "cutting out the corpus") as show:
        return cut_corpus(Path(config.corpus), eyes, show)


def _composite(config: DrawnPersonConfig, eyes: Eyes, corpus: Sequence[CutPerson], console: Console) -> ClipPaths:
    """Clips of people who were cut out of the one video and of the corpus's; finished ones are kept."""
    folder = Path(config.shared_dir or config.output_dir) / "clips"
    paths = ClipPaths(folder / "train.jsonl", folder / "calibration.jsonl")
    if all(path.is_file() for path in paths):  # written last
        return paths
    with video_bar(console, "compositing clips") as show:
        composite_clips(
            folder,
            cut_subject(Path(config.video), eyes),
            corpus,
            name=config.subject,
            numbers={"train": config.num_clips, "calibration": config.num_calibration},
            num_frames=config.stage2.data.num_frames,
            seed=CLIPS_SEED_OFFSET + config.seed,
            watch=eyes.reader.watch_many,
            progress=show,
        )
    return paths


def choose_clips(clips: Sequence[Record], config: DrawnPersonConfig) -> list[Record]:
    """The records of `config.clip_set`: the one video, and the drawn clips of the kinds that the set has."""
    level = CLIP_SETS.index(config.clip_set)
    drawn = [record for record in clips if level >= _needed_level(record)]
    if any(record.present for record in drawn):
        return drawn
    return [_one_video(clips, config), *drawn]


def _needed_level(clip: Record) -> int:
    """The first of `CLIP_SETS` that has the clip."""
    if clip.role != "hard_negative":
        return {"easy_negative": 1, "positive": 2}[clip.role]
    invented = clip.origin == "rendered"  # nobody of the tests is in a corpus
    return 4 if invented and people_group(Identity(**clip.truth["identity"])) == "test" else 3


def _one_video(clips: Sequence[Record], config: DrawnPersonConfig) -> Record:
    """The one video as a record, with the questions about presence that it answers by itself."""
    positive = next(record for record in clips if record.role == "positive")
    questions = tuple(question for question in positive.questions if question.type == "existence")
    return dataclasses.replace(
        positive, video=str(Path(config.video).absolute()), questions=questions, origin="real", sha256=None, truth={}
    )


def training_stages(config: DrawnPersonConfig, records: Path) -> list[TrainConfig]:
    """The configurations of the stages that train, wired together and to the records."""
    out = Path(config.output_dir)
    stages: list[TrainConfig] = []
    for stage in (config.stage1, config.stage2)[0 if config.with_stage1 else 1 :]:
        has_both = CLIP_SETS.index(config.clip_set) > 0
        shared = f"{config.shared_dir}/features" if config.shared_dir else ""
        data = dataclasses.replace(stage.data, train=str(records), seed=config.seed, balance_presence=has_both, features_dir=shared)
        wired = dataclasses.replace(
            stage,
            data=data,
            seed=config.seed,
            weights=config.weights,
            output_dir=str(out / f"stage{stage.stage}"),
            init_from=stages[-1].output_dir if stages else "",
        )
        stages.append(wired)
    return stages


def calibrate_run(run: Path, records_file: Path, subject: str) -> float:
    """Calibrates a run on held-out clips: chooses the threshold on their existence questions, which it returns, and fits how the
    log-odds of the probes tell presence. Both are written into the run."""
    loaded = load_run(run, make_mesh(MeshConfig(data=1), jax.devices()[:1]))
    records = choose_records(load_records(records_file, subject), ("existence",), None)
    probes = probe_questions(subject)
    probed = [dataclasses.replace(record, questions=(*record.questions, *probes)) for record in records]
    first_token = 1  # is yes or no, and its log-odds are all that is needed
    answered = answer_records(loaded.model, loaded.params, loaded.tokenizer, loaded.config, probed, max_new_tokens=first_token)
    by_video = [list(group) for _, group in itertools.groupby(answered.answers, key=lambda answer: answer.video)]
    threshold = choose_threshold([answer for group in by_video for answer in group[: -len(probes)]])
    write_threshold(run, threshold, len(records))
    scored = [_score(group[-len(probes) :]) for group in by_video]
    if len({clip.role == "positive" for clip in scored}) == 2:
        write_calibration(run, fit_calibration(scored))
    return threshold


def _score(probed: Sequence[Answer]) -> Scored:
    """A clip by the answers to its probes."""
    return Scored(sum(answer.log_odds or 0.0 for answer in probed) / len(probed), probed[0].role)
