"""Starts the same training command as several real processes, as a launcher would, on the CPU of this machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

STAND_IN = "tests.training.stand_in_run"
RATES = ("steps_per_second", "videos_per_second", "data_wait")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(given: list[str], count: int, devices: int = 1, module: str = STAND_IN, **extra: str) -> list[subprocess.Popen[str]]:
    """`count` processes of `devices` devices each; a single one is started without any sign of others."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_FLAGS", "SLURM_"))}
    environment |= {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONUNBUFFERED": "1", "COLUMNS": "300", **extra}
    if count > 1:
        environment |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": str(count)}
    place = [{"JAX_PROCESS_ID": str(index)} if count > 1 else {} for index in range(count)]
    command = [sys.executable, "-m", module, *given]
    return [
        subprocess.Popen(command, env={**environment, **mine}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for mine in place
    ]


def finish(processes: list[subprocess.Popen[str]], timeout: float = 600) -> list[tuple[int, str, str]]:
    """Status, output and errors of each."""
    try:
        shown = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, shown, strict=True)]


def numbers(output: Path) -> list[dict[str, float]]:
    """The lines of a run's numbers, without those that are about time."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in RATES} for line in lines]


def losses(output: Path) -> dict[int, float]:
    """Step to loss."""
    return {line["step"]: line["loss"] for line in numbers(output)}
