"""Measures python -m pvchat_jax.find: how well planted intervals are found, and how many hours of video an hour of work takes.

    python -m pvchat_jax.quickstart && python -m pvchat_jax.subjects add quickstart/wilson/stage2 --invented
    python benchmarks/find.py --subject=wilson --world-seed=0

The videos are drawn and kept in --work: stretches with the subject and stretches with look-alikes and strangers take turns, in shots of
4 seconds or more, with other people, clothes and places than training had. They start at 5 s of the container's clock and lack every fifth
frame, so their frame rate varies. Speed is also measured on a video of 1920 x 1080 at 30 frames a second. Prints two tables.
"""

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pvchat_jax.registry.registry import Registry
from pvchat_jax.timeline.search import WINDOW_SECONDS, Found, search
from pvchat_jax.timeline.viewing import person_of, viewing_of
from pvchat_jax.world.actions import ACTIONS, WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.plan import VideoPlan, plan_video
from pvchat_jax.world.render import render_frames
from pvchat_jax.world.staging import FRAMES_PER_SECOND, NUM_FRAMES

_FIRST_INDEX = 10_000  # of test videos that no evaluation asks about
_CLOCK_START = 5.0
_LOST_SHARE = 0.2  # of the frames
_PRESENT_SECONDS, _ABSENT_SECONDS = (4, 20), (6, 40)
_STANDING = tuple(action for action in ACTIONS if action not in (WALK_LEFT, WALK_RIGHT))
_HD_SECONDS = 40

Span = tuple[float, float]


class Planted(NamedTuple):
    """A video and when the subject is in it, in seconds."""

    path: Path
    spans: list[Span]
    seconds: float


def plant(path: Path, world_seed: int, seed: int, seconds: float, split: str) -> Planted:
    """Draws a video with stretches that show the subject, or finds the one that was drawn before."""
    truth = path.with_suffix(".json")
    if truth.is_file():
        return Planted(path, **json.loads(truth.read_text()))
    rng = np.random.default_rng(seed)
    plans = {present: _plans(world_seed, seed, split, present) for present in (True, False)}
    spans, parts, length = [], [], 0
    present = False
    while length < seconds * FRAMES_PER_SECOND:
        wanted = round(rng.uniform(*(_PRESENT_SECONDS if present else _ABSENT_SECONDS)) * FRAMES_PER_SECOND)
        shots = [_shot(next(plans[present]), rng) for _ in range(-(-wanted // (2 * NUM_FRAMES)))]
        stretch = np.concatenate(shots)[:wanted]
        if present:
            spans.append((length / FRAMES_PER_SECOND, (length + len(stretch)) / FRAMES_PER_SECOND))
        parts.append(stretch)
        length, present = length + len(stretch), not present
    _write(path, parts, rng)
    planted = Planted(path, spans, length / FRAMES_PER_SECOND)
    truth.write_text(json.dumps({"spans": spans, "seconds": planted.seconds}))
    return planted


def _plans(world_seed: int, seed: int, split: str, present: bool) -> Iterator[VideoPlan]:
    for index in itertools.count(_FIRST_INDEX * (1 + seed)):
        plan = plan_video(world_seed, split, index)
        if (plan.role == "positive") == present:
            yield plan


def _shot(plan: VideoPlan, rng: np.random.Generator) -> np.ndarray:
    """At least two clips' time of the same person in the same place, who does something else in each clip; the first begins anywhere."""
    clips = [render_frames(plan)[rng.integers(NUM_FRAMES // 2) :]]
    for _ in range(rng.integers(0, 3)):
        if plan.person.position is not None:
            plan = dataclasses.replace(plan, person=dataclasses.replace(plan.person, action=str(rng.choice(_STANDING))))
        clips.append(render_frames(plan))
    shot = np.concatenate(clips)
    return np.concatenate([shot, shot])[: 2 * NUM_FRAMES] if len(shot) < 2 * NUM_FRAMES else shot


def _write(path: Path, parts: Sequence[np.ndarray], rng: np.random.Generator) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "veryfast", "crf": "18", "g": "64"})
        stream.height, stream.width = parts[0].shape[1:3]
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(itertools.chain.from_iterable(parts)):
            if number and rng.random() < _LOST_SHARE:
                continue
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(1000 * (_CLOCK_START + number / FRAMES_PER_SECOND)), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_hd(path: Path, source: Path) -> None:
    """`_HD_SECONDS` of a video, enlarged to 1920 x 1080 at 30 frames a second."""
    with av.open(str(source)) as small, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height = 1920, 1080
        number = 0
        for frame in small.decode(video=0):
            large = frame.reformat(1920, 1080, "yuv420p")
            while number < 30 * (frame.time - _CLOCK_START + 1 / FRAMES_PER_SECOND) and number < 30 * _HD_SECONDS:
                large.pts, large.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(large))
                number += 1
        container.mux(stream.encode())


def overlap(one: Span, other: Span) -> float:
    """Intersection over union."""
    common = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return common / (one[1] - one[0] + other[1] - other[0] - common)


def accuracy(planted: Sequence[Planted], found: Sequence[Sequence[Span]]) -> dict[str, str]:
    """How well intervals were found, as words for a table."""
    best_of_truth, best_of_found = [], []
    common = true_seconds = found_seconds = 0.0
    for video, spans in zip(planted, found, strict=True):
        best_of_truth += [max((overlap(span, other) for other in spans), default=0.0) for span in video.spans]
        best_of_found += [max((overlap(span, other) for other in video.spans), default=0.0) for span in spans]
        common += sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in spans for b in video.spans)
        true_seconds += sum(end - start for start, end in video.spans)
        found_seconds += sum(end - start for start, end in spans)
    return {
        "planted intervals": f"{len(best_of_truth)} in {sum(video.seconds for video in planted) / 60:.0f} minutes of video",
        "found intervals": str(len(best_of_found)),
        "mean IoU of a planted interval with the found one that fits it best": f"{np.mean(best_of_truth):.3f}",
        "recall of intervals (IoU of at least 0.5)": f"{100 * np.mean(np.array(best_of_truth) >= 0.5):.1f}%",
        "precision of intervals (likewise)": f"{100 * np.mean(np.array(best_of_found) >= 0.5):.1f}%",
        "recall of seconds": f"{100 * common / true_seconds:.1f}%",
        "precision of seconds": f"{100 * common / max(found_seconds, 1e-9):.1f}%",
    }


def spans_of(found: Found) -> list[list[Span]]:
    """The intervals of each video."""
    return [[(interval.start, interval.end) for interval in timeline.intervals] for timeline in found.timelines]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, default=Path("people"), help="where the subject is enrolled")
    parser.add_argument("--subject", default="wilson", help="a person of a drawn world")
    parser.add_argument("--world-seed", type=int, default=0, help="of the world that the subject is of")
    parser.add_argument("--split", default="test", choices=("test", "calibration"), help="of the people, clothes and places")
    parser.add_argument("--videos", type=int, default=4, help="number of planted videos")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each")
    parser.add_argument("--work", type=Path, default=Path("find_benchmark"), help="keeps the drawn videos")
    options = parser.parse_args()
    drawn, hd = options.work / f"{options.split}_{options.minutes:g}", options.work / "hd"
    for folder in (drawn, hd):
        folder.mkdir(parents=True, exist_ok=True)
    planted = [
        plant(drawn / f"{seed}.mp4", options.world_seed, seed, 60 * options.minutes, options.split) for seed in range(options.videos)
    ]
    if not (hd / "hd.mp4").is_file():
        _write_hd(hd / "hd.mp4", planted[0].path)
    from pvchat_jax.assistant.assistant import Assistant

    registry = Registry(options.registry)
    assistant = Assistant.open(registry)
    person, viewing = person_of(registry, options.subject), viewing_of(registry, WINDOW_SECONDS)
    index = options.work / "index.sqlite"

    def timed(place: Path, name: str) -> tuple[Found, float]:
        begun = time.perf_counter()
        # a pack of another fingerprint is a person of whom nothing is known yet
        found = search(place, [person._replace(pack=name)], assistant, viewing, index)
        return found, time.perf_counter() - begun

    timed(hd, "compiles")
    index.unlink()
    rows = []
    for name, place, seconds in (
        ("128 x 128, about 6 frames a second", drawn, sum(video.seconds for video in planted)),
        ("1920 x 1080, 30 frames a second", hd, _HD_SECONDS),
    ):
        size = index.stat().st_size if index.is_file() else 0
        (found, first), (_, second), (_, third) = timed(place, "first"), timed(place, "second"), timed(place, "second")
        per_hour = (index.stat().st_size - size) * 3600 / seconds
        rows.append(
            (name, f"{found.num_encoded}", *(f"{seconds / taken:.0f}" for taken in (first, second, third)), f"{per_hour / 1e6:.0f}")
        )
        if place == drawn:
            scores = accuracy(planted, spans_of(found))
    print("| what | measured |\n| --- | --- |")
    print("\n".join(f"| {name} | {value} |" for name, value in scores.items()))
    print(
        "\n| video | windows | first question | another person | the same again | index, MB/h |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    print("\nQuestions in hours of video per hour.")


if __name__ == "__main__":
    main()
