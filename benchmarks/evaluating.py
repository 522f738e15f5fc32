"""Measures evaluation: many questions about several videos, against the original's loop in PyTorch, and two processes against one.

    python benchmarks/evaluating.py               # in minutes on two cores

The original asks one question at a time with the encoder, the Q-Former and all tokens of the prompt each time, and 5 beams. Both have
the same random weights, videos and prompts, float32, and answers of 24 tokens; PyTorch gets the number of threads that it is fastest
with. What a sweep does besides (reading videos, loading a model, compiling) is not timed, for neither.

Each process of the second table has one core to itself, and half of the videos where there are two.
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.decoding import SIZES, random_model
from benchmarks.training_speed import markdown, positive
from benchmarks.training_systems import ANSWER
from pvchat_jax.config.schema import TrainConfig

WORDS = "Is he here with the red bench on left of a dog who waves at what now".split()


class Case(NamedTuple):
    """Records with random questions, and their videos float32[V, N, T, H, W, 3]."""

    config: TrainConfig
    records: list[Any]
    videos: np.ndarray


def make_case(size: str, num_videos: int, questions: int) -> Case:
    """Videos of noise with questions of random words; nothing is read from a disk."""
    from pvchat_jax.data.records import Question, Record
    from pvchat_jax.data.tokenizer import load_tokenizer

    config = SIZES[size]()
    language_model = dataclasses.replace(config.model.language_model, vocab_size=load_tokenizer("tiny", [config.data.subject]).vocab_size)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, language_model=language_model))
    random, data = np.random.default_rng(0), config.data
    subject = data.subject
    records = [
        Record(
            video=f"{video}.mp4",
            subject=subject,
            role="positive",
            origin="real",
            questions=tuple(
                Question(question=f"{subject} {' '.join(random.choice(WORDS, 8))}?", answer="Yes.", type="action") for _ in range(questions)
            ),
        )
        for video in range(num_videos)
    ]
    shape = (num_videos, data.num_clips, data.num_frames, data.image_size, data.image_size, 3)
    return Case(config, records, random.standard_normal(shape, np.float32))


class Ours:
    """A sweep's examiner: videos in units, all their questions behind one prefix."""

    def __init__(self, case: Case, decoding: str) -> None:
        from pvchat_jax.data.tokenizer import load_tokenizer
        from pvchat_jax.evaluation.examiner import Examiner
        from pvchat_jax.evaluation.generation import VIDEOS_AT_ONCE
        from pvchat_jax.inference.engine import Engine
        from pvchat_jax.sweeps.decoding import read_decoding

        model, self.params = random_model(case.config)
        tokenizer = load_tokenizer("tiny", [case.config.data.subject])
        tokenizer.eos_id = -1  # so that every answer has all its tokens
        self.case, self.tokenizer, self.unit = case, tokenizer, VIDEOS_AT_ONCE
        decoding = {**read_decoding(decoding), "max_new_tokens": ANSWER}
        make_engine = lambda row: Engine(model, self.params, tokenizer, row)  # noqa: E731
        self.examiner = Examiner(case.records, tokenizer, case.config, VIDEOS_AT_ONCE, make_engine, decoding=decoding)

    def answer(self, index: int = 0, count: int = 1) -> list[list[str]]:
        """Answers about every `count`th unit of videos from `index` on, by video."""
        said = []
        starts = range(0, len(self.case.records), self.unit)
        for start in starts[index::count]:
            part = slice(start, start + self.unit)
            features = self.examiner.engine.encode(self.case.videos[part])
            heard = self.examiner(features, [record.questions for record in self.case.records[part]])
            said.extend([one.text for one in of_video] for of_video in heard.said)
        return said


def timed(function: Callable[[], Any], runs: int) -> tuple[float, Any]:
    """The median of the seconds of `runs` calls after one that is not timed, and what the last returned."""
    function()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def against_reference(size: str, num_videos: int, questions: int, runs: int) -> str:
    """Markdown: answers a second of both, and how many of those that both gave are the same."""
    import torch

    from benchmarks.torch_reference import TorchReference
    from pvchat_jax.evaluation.examiner import prompt_row

    case = make_case(size, num_videos, questions)
    rows = []
    for what, decoding, beams in (("5 beams, as the original", "num_beams=5", 5), ("greedy", "greedy", 1)):
        ours = Ours(case, decoding)
        seconds, said = timed(ours.answer, runs)
        theirs = TorchReference(case.config.model, ours.params)
        prompts = [prompt_row(ours.tokenizer, case.config, question) for question in case.records[0].questions[:2]]
        options = {"do_sample": False, "num_beams": beams, "max_new_tokens": ANSWER, "eos_token_id": None, "pad_token_id": 0}

        def loop() -> list[np.ndarray]:
            return [theirs.answer(case.videos[0], row.input_ids, row.video_mask, **options) for row in prompts]  # noqa: B023

        found = []
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            torch.set_num_threads(threads)
            found.append(timed(loop, runs))
        slow, tokens = min(found, key=lambda pair: pair[0])
        same = sum(ours.tokenizer.decode(ids).strip() == text for ids, text in zip(tokens, said[0], strict=False))
        rate, reference = num_videos * questions / seconds, len(prompts) / slow
        rows.append((what, f"{rate:.1f}", f"{reference:.2f}", f"{rate / reference:.1f}", f"{same} of {len(prompts)}"))
    title = f"{questions} questions about each of {num_videos} videos"
    return markdown((title, "answers/s", "PyTorch, answers/s", "times", "same answers"), rows)


def work(size: str, num_videos: int, questions: int, index: int, count: int) -> None:
    """One process of the scaling: gets ready, says so, waits for a line, and prints the seconds of its share."""
    ours = Ours(make_case(size, num_videos, questions), "num_beams=5")
    ours.answer(index, num_videos)  # one unit compiles everything
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    ours.answer(index, count)
    print(time.perf_counter() - began, flush=True)


def slowest(arguments: argparse.Namespace, count: int) -> float:
    """Seconds until the last of `count` processes, each on a core of its own, has done its share."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, __file__, f"--size={arguments.size}", f"--videos={arguments.videos}", f"--questions={arguments.questions}"]
    processes = [
        subprocess.Popen(
            ["taskset", "-c", str(cores[index]), *command, f"--share={index},{count}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return max(float(process.communicate()[0]) for process in processes)


def scaling(arguments: argparse.Namespace) -> str:
    """Markdown: answers a second of one and of two processes."""
    total = arguments.videos * arguments.questions
    seconds = {count: slowest(arguments, count) for count in (1, 2)}
    rows = [(str(count), f"{total / taken:.1f}", f"{seconds[1] / taken:.2f}") for count, taken in seconds.items()]
    return markdown(("processes, a core each", "answers/s", "times"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="mid", help="of the model (default: mid)")
    parser.add_argument("--videos", type=positive, default=8, help="a multiple of 8 splits evenly (default: 8)")
    parser.add_argument("--questions", type=positive, default=25, help="about each video (default: 25)")
    parser.add_argument("--runs", type=positive, default=2, help="of which the median counts (default: 2)")
    parser.add_argument("--only", choices=("reference", "scaling"), help="one of the tables")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.share:
        work(arguments.size, arguments.videos, arguments.questions, *map(int, arguments.share.split(",")))
        return
    if arguments.only != "scaling":
        print(against_reference(arguments.size, arguments.videos, arguments.questions, arguments.runs), flush=True)
    if arguments.only != "reference":
        print(scaling(arguments))


if __name__ == "__main__":
    main()
