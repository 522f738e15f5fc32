"""The real command on the packaged tiny model: any devices and any number of processes give the same answers."""

import json
import signal
import time
from pathlib import Path

import pytest

from pvchat_jax.world.build import build_world
from tests.distributed.processes import finish, start
from tests.sweeps.reciting import answers_of

pytestmark = pytest.mark.slow

EVALUATE = "pvchat_jax.evaluate"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, which has hardly learnt anything, and `world/test.jsonl`."""
    folder = tmp_path_factory.mktemp("trained")
    build_world(folder / "world", subject="<Wilson>", num_test=16, seed=0)
    settings = {
        "data.train": folder / "world" / "test.jsonl",
        "output_dir": folder / "run",
        "init_from": "",
        "weights": "tiny",
        "num_steps": 2,
        "optimizer.warmup_steps": 1,
        "checkpoint.every_steps": 2,
        "data.batch_size": 4,
    }
    given = ["--config=configs/stage2.py:tiny", *(f"--config.{name}={value}" for name, value in settings.items())]
    ((status, _, errors),) = finish(start(given, 1, module="pvchat_jax.train"))
    assert status == 0, errors
    return folder


def arguments(trained: Path, out: str) -> list[str]:
    settings = {
        "runs": trained / "run",
        "records": trained / "world" / "test.jsonl",
        "output_dir": trained / out,
        "decoding": "num_beams=3,temperature=0.8",
        "systems": "personalized,base,majority,question_only",
    }
    return ["--config=configs/eval.py:tiny", *(f"--config.{name}={value}" for name, value in settings.items())]


@pytest.fixture(scope="module")
def alone(trained: Path) -> dict[str, list[dict]]:
    """Answers of one process with one device, by item."""
    ((status, shown, errors),) = finish(start(arguments(trained, "one"), 1, module=EVALUATE))
    assert status == 0, errors + shown
    return answers_of(trained / "one")


def assert_same(found: dict[str, list[dict]], expected: dict[str, list[dict]]) -> None:
    """Every answer is the same text; log-odds may differ in the last digit that is written, since sums are made in another order."""
    assert found.keys() == expected.keys() and len(expected) == 2 * 3 + 1
    for name, lines in expected.items():
        odds = [line.pop("log_odds") for line in found[name]]
        assert found[name] == [{key: value for key, value in line.items() if key != "log_odds"} for line in lines], name
        assert odds == pytest.approx([line["log_odds"] for line in lines], abs=2e-4)


def test_eight_devices_answer_as_one(trained: Path, alone: dict[str, list[dict]]) -> None:
    ((status, shown, errors),) = finish(start(arguments(trained, "eight"), 1, devices=8, module=EVALUATE))
    assert status == 0, errors + shown
    assert json.loads(next((trained / "eight").rglob("item.json")).read_text())["mesh"]["data"] == 8
    assert_same(answers_of(trained / "eight"), alone)


def test_two_processes_answer_as_one_though_one_is_killed_on_the_way(trained: Path, alone: dict[str, list[dict]]) -> None:
    processes = start(arguments(trained, "two"), 2, module=EVALUATE)
    while not list((trained / "two").rglob("1-of-2.jsonl")):
        time.sleep(0.2)
        assert processes[1].poll() is None, processes[1].communicate()
    processes[1].send_signal(signal.SIGKILL)
    (first, second) = finish(processes)
    assert (first[0], second[0]) == (0, -signal.SIGKILL), first
    assert "not finished yet" in first[1]
    before = answers_of(trained / "two")
    assert before.keys() < alone.keys()
    ended = finish(start(arguments(trained, "two"), 2, module=EVALUATE))
    assert [status for status, *_ in ended] == [0, 0], ended
    assert_same(answers_of(trained / "two"), alone)
    assert not list((trained / "two").rglob("parts"))
