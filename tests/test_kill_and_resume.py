"""A run that is killed again and again, at any moment of its life, writes the numbers of one that was left alone."""

import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributed.processes import STAND_IN, numbers
from tests.training.stand_in_run import OVERRIDES, write_records

pytestmark = pytest.mark.slow

NUM_KILLS = 20
ENDLESS = 1_000_000
SETTINGS = {
    "data.batch_size": 2,
    "data.questions_per_video": 1,
    "optimizer.warmup_steps": 2,
    "optimizer.schedule": "constant",  # so that runs of different lengths begin alike
    "mesh.data": 1,
    "log_every": 1,
    "checkpoint.every_steps": 2,  # most kills after the start then find a save in flight
}


class Life:
    """One process of the run in `output`, whose last log is `output`.log."""

    def __init__(self, records: Path, output: Path, num_steps: int = ENDLESS) -> None:
        settings = {**SETTINGS, "data.train": records, "output_dir": output, "num_steps": num_steps}
        given = [f"--config.{name}={value}" for name, value in settings.items()]
        cache = {"JAX_COMPILATION_CACHE_DIR": str(output.parent / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        environment = {**os.environ, **cache, "XLA_FLAGS": "", "PYTHONUNBUFFERED": "1", "COLUMNS": "300"}
        command = [sys.executable, "-m", STAND_IN, "--config=configs/stage1.py:tiny", *OVERRIDES, *given]
        self._log = output.with_suffix(".log")
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._born = time.monotonic()

    @property
    def shown(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for_training(self) -> float:
        """Seconds from the start until a step has been reported."""
        while not re.search(r"^step \d+/", self.shown, re.MULTILINE):
            assert self._process.poll() is None, self.shown
            time.sleep(0.02)
        return time.monotonic() - self._born

    def wait_until(self, age: float) -> None:
        time.sleep(max(0.0, age - (time.monotonic() - self._born)))
        assert self._process.poll() is None, self.shown

    def end(self, signum: int | None = None) -> int:
        """Status of the process, which gets the signal first."""
        if signum is not None:
            self._process.send_signal(signum)
        return self._process.wait(timeout=300)


def test_twenty_kills_at_random_moments_change_no_bit(tmp_path):
    seed = secrets.randbits(32)
    print(f"moments from seed {seed}")  # pytest shows it when the test fails
    draw = random.Random(seed)
    records = write_records(tmp_path)
    output = tmp_path / "parts"
    first = Life(records, output)
    try:
        first.wait_for_training()
    finally:
        first.end(signal.SIGKILL)
    start_up, trained = 0.0, 0
    for _ in range(NUM_KILLS - 1):
        life = Life(records, output)
        try:
            if not start_up:  # of the first life whose programs are in the cache
                start_up = life.wait_for_training()
            life.wait_until(draw.uniform(0 if trained else start_up, 1.6 * start_up))
        finally:
            status = life.end(signal.SIGKILL)
        assert status == -signal.SIGKILL, life.shown
        steps = re.findall(r"^step (\d+)/", life.shown, re.MULTILINE)
        trained += bool(steps)
        print("killed", f"after step {steps[-1]}" if steps else "before its first step")
    last = Life(records, output)
    last.wait_for_training()
    assert last.end(signal.SIGTERM) == 128 + signal.SIGTERM, last.shown
    num_steps = int(re.search(r"stopped by SIGTERM at step (\d+)", last.shown).group(1))
    print(f"{trained + 1} of {NUM_KILLS} kills came while it trained; {num_steps} steps")

    whole = Life(records, tmp_path / "whole", num_steps)
    assert whole.end() == 0, whole.shown
    assert numbers(output) == numbers(tmp_path / "whole")
    assert [line["step"] for line in numbers(output)] == list(range(1, num_steps + 1))
    assert not list((output / "checkpoints").glob("damaged-*"))
