"""Measures the server under load: answers per second, latency, turns between clients, memory, and that nothing is lost or mixed up.

    python benchmarks/serving.py                        # 50 clients, 10,000 requests, some minutes
    python benchmarks/serving.py --requests=1000

A server of its own (`python -m pvchat_jax.serve`) has two people over the packaged tiny base, made without training. Each client sends one
question after the other; one of them is greedy and keeps ten open. Every answer is compared with that of the same question
asked alone before. Half of the questions are streamed. Prints a table.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx2
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.assistant.tiny_registry import make_registry
from tests.server.stub import write_clip

ROOT = Path(__file__).resolve().parent.parent
_VIDEOS = 4
_QUESTIONS = (
    "What is Wilson doing?",
    "What is Ada wearing?",
    "Where is Wilson?",
    "Is Ada in this video?",
    "What does Wilson look like, and what is he wearing today?",
)
_GREEDY_OPEN = 10
_MAX_TOKENS = 16
_TIMEOUT = 120.0


class Asked(NamedTuple):
    """A question about a video."""

    video: str
    text: str


@dataclasses.dataclass
class Load:
    """What the clients measured: seconds by client, and how requests ended."""

    seconds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    first_text: list[float] = dataclasses.field(default_factory=list)
    ends: Counter[str] = dataclasses.field(default_factory=Counter)
    memory: list[tuple[int, float]] = dataclasses.field(default_factory=list)  # requests so far, MB


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server of its own: address and process."""
    make_registry(folder / "people", verdict="present")
    for number in range(_VIDEOS):
        write_clip(folder / "videos" / f"{number}.mp4", greys=(30 + 50 * number, 200))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pvchat_jax.serve", f"--registry={folder / 'people'}", f"--videos={folder / 'videos'}"]
    command += [f"--workspace={folder / 'work'}", f"--port={port}"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{url}/health").status_code == 200:
                    break
            if process.poll() is not None:
                raise SystemExit(f"the server ended:\n{(folder / 'log.txt').read_text()}")
            time.sleep(0.1)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


async def ask(client: httpx2.AsyncClient, asked: Asked, user: str, *, stream: bool) -> tuple[str, float | None]:
    """The answer, and the seconds until its first text where it is streamed.

    Raises:
      httpx2.HTTPError: there was none.
    """
    parts = [{"type": "video_url", "video_url": {"url": asked.video}}, {"type": "text", "text": asked.text}]
    body = {"model": "pvchat", "messages": [{"role": "user", "content": parts}], "user": user, "max_tokens": _MAX_TOKENS, "stream": stream}
    if not stream:
        response = await client.post("/v1/chat/completions", json=body)
        return response.raise_for_status().json()["choices"][0]["message"]["content"], None
    start, first, text, is_done = time.perf_counter(), None, "", False
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            is_done |= line == "data: [DONE]"
            if not line.startswith("data: {"):
                continue
            piece = json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            if piece and first is None:
                first = time.perf_counter() - start
            text += piece
    return (text.strip() if is_done else "the stream broke off"), first


async def load(url: str, process: psutil.Process, num_clients: int, num_requests: int) -> tuple[Load, float]:
    """All requests, and the seconds that they took after everything was compiled."""
    found = Load()
    questions = [Asked(f"{number}.mp4", text) for number in range(_VIDEOS) for text in _QUESTIONS]
    limits = httpx2.Limits(max_connections=num_clients + _GREEDY_OPEN, max_keepalive_connections=num_clients + _GREEDY_OPEN)
    async with httpx2.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=limits) as client:
        alone = {asked: (await ask(client, asked, "alone", stream=False))[0] for asked in questions}
        await asyncio.gather(*(ask(client, asked, "warm", stream=True) for asked in questions))
        numbers = iter(range(num_requests))

        async def work(user: str) -> None:
            for number in numbers:
                asked, start = questions[number % len(questions)], time.perf_counter()
                try:
                    text, first = await ask(client, asked, user, stream=bool(number // len(questions) % 2))
                    found.ends["answered" if text == alone[asked] else "another answer"] += 1
                except httpx2.HTTPStatusError as error:
                    found.ends[f"status {error.response.status_code}"] += 1
                    continue
                except httpx2.HTTPError as error:
                    found.ends[type(error).__name__] += 1
                    continue
                found.seconds.setdefault(user, []).append(time.perf_counter() - start)
                found.first_text.extend([] if first is None else [first])
                if number % max(num_requests // 20, 1) == 0:
                    found.memory.append((number, process.memory_info().rss / 1e6))

        start = time.perf_counter()
        users = [f"client {number}" for number in range(num_clients - 1)] + ["greedy"] * _GREEDY_OPEN
        await asyncio.gather(*map(work, users))
        return found, time.perf_counter() - start


def rows(found: Load, seconds: float, num_requests: int) -> dict[str, str]:
    """What was measured, as words for a table."""
    every = sorted(value for of_client in found.seconds.values() for value in of_client)
    others = {user: values for user, values in found.seconds.items() if user != "greedy"}
    means = sorted(statistics.mean(values) for values in others.values())
    counts = sorted(map(len, others.values()))
    greedy = found.seconds.get("greedy", [])
    half = found.memory[len(found.memory) // 2 :]
    return {
        "requests": f"{num_requests:,}: " + ", ".join(f"{count:,} {end}" for end, count in found.ends.most_common()),
        "answers per second": f"{len(every) / seconds:.1f}",
        "latency, 50 / 90 / 99 / 100 %": " / ".join(f"{1e3 * _quantile(every, share):.0f}" for share in (0.5, 0.9, 0.99, 1.0)) + " ms",
        "first text of a stream, 50 / 99 %": f"{1e3 * _quantile(sorted(found.first_text), 0.5):.0f} / "
        f"{1e3 * _quantile(sorted(found.first_text), 0.99):.0f} ms",
        f"{len(others)} clients that ask one at a time": f"{counts[0]} to {counts[-1]} answers each; mean latency {1e3 * means[0]:.0f} to "
        f"{1e3 * means[-1]:.0f} ms",
        f"a client with {_GREEDY_OPEN} open": f"{len(greedy)} answers; mean latency {1e3 * statistics.mean(greedy or [0]):.0f} ms",
        "memory at the start, the middle and the end": f"{found.memory[0][1]:.0f}, {half[0][1]:.0f}, {found.memory[-1][1]:.0f} MB; at "
        f"most {max(value for _, value in found.memory):.0f} MB",
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50, help="at the same time (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=10_000, help="of all together (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (url, process):
        found, seconds = asyncio.run(load(url, process, options.clients, options.requests))
    print("| what | measured |\n| --- | --- |")
    for name, value in rows(found, seconds, options.requests).items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
