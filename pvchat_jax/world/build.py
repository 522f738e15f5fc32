"""Writes a world to a folder: videos and their records; continues where an interrupted build stopped.

In the folder are `world.json` (which world this is), `videos/*.mp4`, `videos.sha256` (digests of the finished videos, in the
format of the sha256sum tool), and files of records, which are written last: `reference.jsonl` (the one video from which the
subject is to be learnt) and one file for each split that has videos.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pvchat_jax.data.record_files import write_records
from pvchat_jax.data.records import Record
from pvchat_jax.devices import keep_freed_memory
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.world.plan import REFERENCE, SPLITS, Subject, VideoPlan, plan_video, reference_video
from pvchat_jax.world.questions import ask
from pvchat_jax.world.render import encode_video, render_frames
from pvchat_jax.world.staging import NUM_FRAMES, frame_truth, spread_frames

WORLD_VERSION = 10  # to be raised when the same seed gives other videos or questions than before
SETTINGS_FILE = "world.json"
DIGESTS_FILE = "videos.sha256"
VIDEOS_FOLDER = "videos"

Progress = Callable[[int, int], None]

_DIGEST_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_VIDEOS_PER_WORKER = 32  # starting a process takes as long as rendering about ten videos


class WorldPaths(NamedTuple):
    """The files of records; those of splits without videos do not exist."""

    reference: Path
    train: Path
    calibration: Path
    test: Path


def build_world(
    out_dir: str | Path,
    *,
    subject: str = "<Wilson>",
    num_train: int = 0,
    num_calibration: int = 0,
    num_test: int = 0,
    seed: int,
    believed: Subject | None = None,
    num_frames: int = NUM_FRAMES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> WorldPaths:
    """Renders the videos of a world and writes their records.

    Half of the videos show the subject, the rest look-alikes and other people (`plan.MIXES`). Finished videos whose digest
    is right are kept, others are rendered again, so an interrupted build can be started again.

    Args:
      out_dir: is made if it does not exist.
      subject: the name in questions and answers. Who bears it is decided by `seed`.
      num_train, num_calibration, num_test: videos of each split; a world that is there already can grow.
      seed: of everything; the same seed gives the same records and the same bytes with the same versions of the libraries.
      believed: who the subject is, as it was read off a reference video; by default the seed decides, and the reference video
        is drawn as well.
      num_frames: of each video, a divisor of `NUM_FRAMES`; with fewer, evenly spaced, drawing takes less time.
      progress: called with (finished videos, all videos) at the start and after each video.
      workers: processes; by default one per processor, and none besides this one for small worlds.

    Returns:
      Paths of the records.

    Raises:
      UserError: a wrong argument, `out_dir` cannot be written or holds another world.
    """
    out_dir = Path(out_dir)
    numbers = dict(zip(SPLITS, (num_train, num_calibration, num_test), strict=True))
    _check_arguments(subject, numbers, seed, num_frames)
    _claim(out_dir, seed, believed, num_frames)
    plans = [] if believed else [reference_video(seed)]
    plans += [plan_video(seed, split, index, believed) for split, number in numbers.items() for index in range(number)]
    digests = _render_missing(out_dir, plans, num_frames, progress, workers)
    paths = WorldPaths(*(out_dir / f"{split}.jsonl" for split in (REFERENCE, *SPLITS)))
    for split, path in zip((REFERENCE, *SPLITS), paths, strict=True):
        if records := [_record(plan, num_frames, subject, digests[_video_name(plan)]) for plan in plans if plan.split == split]:
            write_records(path, records)
    return paths


def render_videos(out_dir: Path, plans: list[VideoPlan], num_frames: int, progress: Progress | None = None) -> list[Path]:
    """Renders the videos of `plans` that are not there yet and returns the paths of all, in order; `out_dir` has `VIDEOS_FOLDER`."""
    _render_missing(out_dir, plans, num_frames, progress, None)
    return [out_dir / _video_name(plan) for plan in plans]


def _render_missing(
    out_dir: Path, plans: list[VideoPlan], num_frames: int, progress: Progress | None, workers: int | None
) -> dict[str, str]:
    """Renders the videos that are missing or damaged and returns the digests of all by name."""
    digests = _finished_digests(out_dir)
    pending = [plan for plan in plans if _video_name(plan) not in digests]
    report = progress or (lambda done, total: None)
    report(len(plans) - len(pending), len(plans))
    with open(out_dir / DIGESTS_FILE, "a", encoding="utf-8") as ledger:
        for number, (plan, digest) in enumerate(_render_all(out_dir, pending, num_frames, workers), start=1):
            digests[_video_name(plan)] = digest
            ledger.write(f"{digest}  {_video_name(plan)}\n")
            ledger.flush()
            report(len(plans) - len(pending) + number, len(plans))
    _write_digests(out_dir, digests)
    return digests


def _check_arguments(subject: str, numbers: Mapping[str, int], seed: int, num_frames: int) -> None:
    if not subject or subject != subject.strip():
        raise UserError(f"the subject {subject!r} is empty or has outer spaces; choose a name such as <Wilson>.")
    for split, number in numbers.items():
        if number < 0:
            raise UserError(f"num_{split} is {number}; choose 0 or more.")
    if seed < 0:
        raise UserError(f"the seed {seed} is negative; choose 0 or more.")
    if num_frames < 1 or NUM_FRAMES % num_frames:
        raise UserError(f"num_frames is {num_frames}; choose a divisor of {NUM_FRAMES}.")


def _claim(out_dir: Path, seed: int, believed: Subject | None, num_frames: int) -> None:
    """Makes the folders and notes which world is in them."""
    subject = _subject_values(believed) if believed else None
    settings = {"version": WORLD_VERSION, "seed": seed, "believed": subject, "num_frames": num_frames}
    path = out_dir / SETTINGS_FILE
    try:
        (out_dir / VIDEOS_FOLDER).mkdir(parents=True, exist_ok=True)
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found != settings:
                raise UserError(f"{out_dir} holds the world {found}, not {settings}; choose another folder, or delete that one.")
        else:
            write_atomically(path, json.dumps(settings) + "\n")
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"the folder {out_dir} cannot be written ({error.strerror}); choose another one.") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); delete the folder {out_dir} to build the world anew.") from error


def _subject_values(subject: Subject) -> dict[str, Any]:
    doubts = {name: list(values) for name, values in subject.doubts.items()}
    return {"identity": dataclasses.asdict(subject.identity), "outfit": dataclasses.asdict(subject.outfit), "doubts": doubts}


def _video_name(plan: VideoPlan) -> str:
    """Path relative to the world's folder."""
    return f"{VIDEOS_FOLDER}/{plan.split if plan.split == REFERENCE else f'{plan.split}_{plan.index:06d}'}.mp4"


def _finished_digests(out_dir: Path) -> dict[str, str]:
    """Digest by name of the videos that are noted as finished and are undamaged."""
    path = out_dir / DIGESTS_FILE
    noted = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _DIGEST_LINE.fullmatch(line)  # an interrupted write may have left half a line
            if match:
                noted[match[2]] = match[1]
    digests = {}
    for name, digest in noted.items():
        with contextlib.suppress(OSError):  # a video that cannot be read is rendered again
            if hashlib.sha256((out_dir / name).read_bytes()).hexdigest() == digest:
                digests[name] = digest
    _write_digests(out_dir, digests)
    return digests


def _write_digests(out_dir: Path, digests: dict[str, str]) -> None:
    write_atomically(out_dir / DIGESTS_FILE, "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))


def _render_all(out_dir: Path, plans: list[VideoPlan], num_frames: int, workers: int | None) -> Iterator[tuple[VideoPlan, str]]:
    """Writes the videos and yields each plan with the digest of its file, in order of completion."""
    if workers is None:
        workers = min(os.cpu_count() or 1, math.ceil(len(plans) / _VIDEOS_PER_WORKER))
    if workers <= 1:
        for plan in plans:
            yield plan, _write_video(out_dir / _video_name(plan), plan, num_frames)
        return
    # Not forked: the caller may have threads of other libraries. Interrupts are left to this process, which then stops the others.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker)
    try:
        futures = {executor.submit(_write_video, out_dir / _video_name(plan), plan, num_frames): plan for plan in plans}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()


def _write_video(path: Path, plan: VideoPlan, num_frames: int) -> str:
    """Renders a video and returns the digest of its file."""
    content = encode_video(render_frames(plan, frames=spread_frames(plan.seed, num_frames)))
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def _record(plan: VideoPlan, num_frames: int, subject: str, digest: str) -> Record:
    return Record(
        video=_video_name(plan),
        subject=subject,
        role=plan.role,
        origin="rendered",
        sha256=digest,
        questions=ask(plan, subject),
        truth=plan.truth() | {"frames": frame_truth(plan, spread_frames(plan.seed, num_frames))},
    )
