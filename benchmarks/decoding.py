"""Measures answers: 25 questions about a video with 5 beams, and one greedy answer, against PyTorch with `transformers`.

    python benchmarks/decoding.py --size=mid        # in minutes on two cores

The reference is the original's loop: one question at a time, each with the encoder, the Q-Former and all tokens of the prompt. Both
have the same random weights, the same random video and questions, float32, and answers of 24 tokens. PyTorch gets the number of
threads that it is fastest with: on few cores that others use as well, one is. Prints tables for README.md.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.training_speed import markdown, positive
from benchmarks.training_systems import ANSWER, mid, random_questions
from configs import stage2
from pvchat_jax.config.schema import TrainConfig

SIZES: dict[str, Callable[[], TrainConfig]] = {"tiny": lambda: stage2.get_config("tiny"), "mid": mid}


class Case(NamedTuple):
    """One video float32[N, T, H, W, 3], prompts int[K, S] about it and their visual positions bool[S]."""

    video: np.ndarray
    prompts: np.ndarray
    video_mask: np.ndarray


class Timed(NamedTuple):
    """Seconds of each run, and the answers int[K, ANSWER] of the last."""

    seconds: list[float]
    answers: np.ndarray


def make_case(config: TrainConfig, questions: int) -> Case:
    """Random questions about a random video."""
    rows = random_questions(config, 1, questions)
    prompt = rows["input_ids"].shape[-1] - ANSWER
    return Case(rows["video"][0], rows["input_ids"][0, :, :prompt], rows["video_mask"][0, 0, :prompt])


class NoEnd:
    """A tokenizer without an end token, so that every answer has all its tokens."""

    eos_id = -1

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def random_model(config: TrainConfig) -> tuple[Any, dict]:
    """The model and parameters of spread 1 / sqrt(inputs), so that neither answers nor activations are all alike."""
    import flax.linen as nn
    import jax

    from pvchat_jax.models.pvchat import build_pvchat, init_boxed

    model = build_pvchat(config.model)
    params = jax.jit(lambda key: nn.unbox(init_boxed(model, config.model, key)))(jax.random.key(0))
    language = {name: 50 * params["language_model"][name] for name in ("embed_tokens", "added_embedding", "added_head")}
    language = {**params["language_model"], **language}
    adapters = jax.random.key(1)  # which begin at 0 and would change nothing
    language = jax.tree.map_with_path(
        lambda path, leaf: jax.random.normal(adapters, leaf.shape) / leaf.shape[-2] ** 0.5 if path[-1].key == "lora_b" else leaf, language
    )
    return model, {**params, "language_model": language}


class Ours:
    """The engine on `case`; what is computed once for a video is timed with its first answers."""

    def __init__(self, config: TrainConfig, case: Case) -> None:
        from pvchat_jax.data.conversation import TextRow
        from pvchat_jax.inference.engine import Engine

        model, self.params = random_model(config)
        ones = np.ones(case.prompts.shape[1], bool)
        self.case = case
        self.rows = [TextRow(prompt, ones, prompt, case.video_mask) for prompt in case.prompts]
        self.engine = Engine(model, self.params, NoEnd(), self.rows[0])

    def see(self) -> Any:
        import jax

        return jax.block_until_ready(self.engine.see(self.engine.encode(self.case.video[None])))

    def answer(self, seen: Any, num_questions: int, num_beams: int) -> np.ndarray:
        from pvchat_jax.inference.options import DecodingOptions

        options = DecodingOptions(max_new_tokens=ANSWER, num_beams=num_beams)
        replies = self.engine.answer(self.engine.ask(seen, [self.rows[:num_questions]]), options)[0]
        return np.array([reply.tokens for reply in replies])


def repeat(function: Callable[[], np.ndarray], runs: int) -> Timed:
    """Times `runs` calls after one that is not timed, in which programs compile and memory is taken."""
    function()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        answers = function()
        seconds.append(time.perf_counter() - began)
    return Timed(seconds, answers)


def measure(config: TrainConfig, questions: int, runs: int) -> dict[str, Timed]:
    """Times by what is measured; the reference answers a few of the questions with 5 beams, each of which takes it as long."""
    import torch

    from benchmarks.torch_reference import TorchReference

    case = make_case(config, questions)
    ours = Ours(config, case)
    seen = ours.see()
    theirs = TorchReference(config.model, ours.params)

    def reference(num_questions: int, num_beams: int) -> np.ndarray:
        options = {"do_sample": False, "num_beams": num_beams, "max_new_tokens": ANSWER, "eos_token_id": None, "pad_token_id": 0}
        return np.stack([theirs.answer(case.video, prompt, case.video_mask, **options) for prompt in case.prompts[:num_questions]])

    def reference_at_best(num_questions: int, num_beams: int, runs: int) -> Timed:
        results = []
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            torch.set_num_threads(threads)
            results.append(repeat(lambda: reference(num_questions, num_beams), runs))
        return min(results, key=lambda result: statistics.median(result.seconds))

    return {
        "ours, 5 beams": repeat(lambda: ours.answer(ours.see(), questions, 5), runs),
        "reference, 5 beams": reference_at_best(min(3, questions), 5, runs),
        "ours, greedy": repeat(lambda: ours.answer(ours.see(), 1, 1), 3 * runs),
        "ours, greedy, seen": repeat(lambda: ours.answer(seen, 1, 1), 3 * runs),
        "reference, greedy": reference_at_best(1, 1, 2 * runs),
    }


def report(size: str, questions: int, timed: dict[str, Timed]) -> str:
    """Markdown: answers a second of both, by the median run, and how many answers are the same token for token."""
    best = {name: statistics.median(result.seconds) / len(result.answers) for name, result in timed.items()}

    def row(what: str, ours: str, theirs: str) -> tuple[str, ...]:
        num_compared = min(len(timed[ours].answers), len(timed[theirs].answers))
        same = int((timed[ours].answers[:num_compared] == timed[theirs].answers[:num_compared]).all(axis=1).sum())
        speeds = (f"{1 / best[ours]:.1f}", f"{1 / best[theirs]:.2f}", f"{best[theirs] / best[ours]:.1f}")
        return (size, what, *speeds, f"{same} of {num_compared}")

    rows = [
        row(f"{questions} questions about a new video, 5 beams", "ours, 5 beams", "reference, 5 beams"),
        row("one greedy answer about a new video", "ours, greedy", "reference, greedy"),
        row("one greedy answer about a video that was seen", "ours, greedy, seen", "reference, greedy"),
    ]
    return markdown(("size", "what", "answers/s", "PyTorch, answers/s", "times", "same answers"), rows)


def describe_run() -> str:
    """Command, commit and machine, line by line."""
    import jax
    import torch
    import transformers

    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    versions = (
        f"jax {jax.__version__}, torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    )
    return "\n".join(
        (
            f"- command: `python benchmarks/decoding.py {' '.join(sys.argv[1:])}`",
            f"- commit {commit or 'unknown'}; {versions}",
            f"- machine: {os.cpu_count()} cores ({platform.machine()}), load averages at the end {', '.join(map(str, os.getloadavg()))}",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="mid", help="of the model (default: mid)")
    parser.add_argument("--questions", type=positive, default=25, help="about the video (default: 25)")
    parser.add_argument("--runs", type=positive, default=3, help="of which the median counts (default: 3)")
    arguments = parser.parse_args()
    timed = measure(SIZES[arguments.size](), arguments.questions, arguments.runs)
    print(f"{describe_run()}\n\n{report(arguments.size, arguments.questions, timed)}")


if __name__ == "__main__":
    main()
