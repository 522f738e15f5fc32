"""Real processes that meet over TCP: they train as one would, stop together and end when one of them is lost."""

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.distributed.processes import finish, losses, numbers, start
from tests.training.stand_in_run import OVERRIDES, write_records

STEPS = 6
ENDLESS = 100_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records"))


def arguments(records: Path, output: Path, **settings) -> list[str]:
    settings = {
        "data.train": records,
        "output_dir": output,
        "data.batch_size": 4,
        "data.questions_per_video": 1,
        "optimizer.warmup_steps": 2,
        "num_steps": STEPS,
        "log_every": 1,
        "checkpoint.every_steps": 3,
    } | settings
    return ["--config=configs/stage1.py:tiny", *OVERRIDES, *(f"--config.{name}={value}" for name, value in settings.items())]


@pytest.fixture(scope="module")
def alone(records, tmp_path_factory):
    """Losses of one process with two devices."""
    output = tmp_path_factory.mktemp("alone") / "run"
    ((status, shown, errors),) = finish(start(arguments(records, output), 1, devices=2))
    assert status == 0, errors
    assert "process" not in shown.splitlines()[0]
    return losses(output)


def test_two_processes_train_as_one_and_only_the_first_reports(records, alone, tmp_path):
    output = tmp_path / "run"
    (first, second) = finish(start(arguments(records, output, num_steps=3), 2))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "process 0 of 2, started by settings in the environment; meeting the others at 127.0.0.1:" in first[1]
    assert "data 2, fsdp 1" in first[1] and "step 3/3" in first[1]
    assert second[1].startswith("process 1 of 2, started by") and "step" not in second[1] and "records" not in second[1]
    assert sorted(path.name for path in output.iterdir()) == ["checkpoints", "config.json", "metrics.jsonl", "tensorboard"]
    assert len(list((output / "tensorboard").iterdir())) == 1
    again = finish(start(arguments(records, output), 2))
    assert [status for status, *_ in again] == [0, 0], again
    assert "continuing from step 3" in again[0][1]
    assert losses(output) == pytest.approx(alone, rel=1e-5)


TWENTY_STEPS = {"data.batch_size": 8, "num_steps": 20}


def mesh(data: int, fsdp: int, tensor: int) -> dict[str, int]:
    return {"mesh.data": data, "mesh.fsdp": fsdp, "mesh.tensor": tensor}


@pytest.fixture(scope="module")
def on_one_device(records, tmp_path_factory):
    """Numbers of twenty steps of one process with one device."""
    output = tmp_path_factory.mktemp("one") / "run"
    ((status, _, errors),) = finish(start(arguments(records, output, **TWENTY_STEPS), 1))
    assert status == 0, errors
    assert len({line["spr_coefficient"] for line in numbers(output)}) == 20  # equality would say little if it stood still
    return numbers(output)


def assert_close(output: Path, expected: list[dict[str, float]]) -> None:
    """Every number of every step: losses, SPR's coefficients and rates of each module, the norm of the gradients, ..."""
    for wanted, got in zip(expected, numbers(output), strict=True):
        assert got == pytest.approx(wanted, rel=1e-5, abs=1e-7)
    assert numbers(output) != expected  # the sums were not made in the same order, so it was not the same layout


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_two_processes_of_four_devices_compute_what_one_device_does(records, on_one_device, tmp_path, shape):
    given = arguments(records, tmp_path / "run", **TWENTY_STEPS, **mesh(*shape))
    both = finish(start(given, 2, devices=4))
    assert [status for status, *_ in both] == [0, 0], both
    assert "data {}, fsdp {}, tensor {}".format(*shape) in both[0][1]
    assert_close(tmp_path / "run", on_one_device)


def test_a_run_continues_with_other_processes_on_another_mesh(records, on_one_device, tmp_path):
    """Killed twice on the way: two processes, then one, then two again."""
    lives = [(2, 4, mesh(1, 8, 1), "7"), (1, 1, mesh(1, 1, 1), "13"), (2, 4, mesh(2, 2, 2), "")]
    for count, devices, layout, last in lives:
        given = arguments(records, tmp_path / "run", **TWENTY_STEPS, **layout)
        ended = finish(start(given, count, devices=devices, DIE_AT_STEP=last))
        assert ended[0][0] == (-signal.SIGKILL if last else 0), ended
        assert numbers(tmp_path / "run")[-1]["step"] == int(last or 20)
        assert ("continuing from step" in ended[0][1]) == (last != "7")
    assert_close(tmp_path / "run", on_one_device)


def wait_for_step(process, number: int) -> str:
    """Reads what `process` shows up to that step, and returns it."""
    shown = ""
    while not re.search(rf"^step {number}/", shown, re.MULTILINE):
        line = process.stdout.readline()
        assert line, process.communicate()
        shown += line
    return shown


def test_a_lost_process_ends_the_others_within_a_minute_and_a_restart_continues(records, tmp_path):
    given = arguments(records, tmp_path / "run", num_steps=ENDLESS)
    for victim, before in ((1, 0), (0, 6)):
        processes = start(given, 2)
        shown = wait_for_step(processes[0], before + 8)
        assert ("continuing from step" in shown) == bool(before)
        processes[victim].kill()
        killed_at = time.monotonic()
        status, _, errors = finish(processes)[1 - victim]
        took = time.monotonic() - killed_at
        print(f"process {1 - victim} ended {took:.1f} s after process {victim} was killed")
        assert took < 60
        assert status == 1, errors
        sentence = errors.splitlines()[-1]
        assert sentence.startswith("error: ") and "start all of them again to continue from the last checkpoint" in sentence, errors


def test_sigterm_to_one_saves_and_stops_all_at_the_same_step(records, tmp_path):
    given = arguments(records, tmp_path / "run", num_steps=ENDLESS, **{"checkpoint.every_steps": ENDLESS})
    processes = start(given, 2)
    wait_for_step(processes[0], 2)
    processes[1].send_signal(signal.SIGTERM)
    ended = finish(processes)
    assert [status for status, *_ in ended] == [128 + signal.SIGTERM] * 2, ended
    steps = [
        re.search(r"stopped by SIGTERM at step (\d+); continue with: python -m pvchat_jax.train", errors).group(1) for *_, errors in ended
    ]
    assert steps[0] == steps[1]
    assert (tmp_path / "run/checkpoints" / steps[0]).is_dir()


def test_two_processes_encode_videos_together_and_learn_as_one(records, tmp_path):
    stored = {"data.cache_features": True, "optimizer.vision_upper": 0, "optimizer.base": 0}
    for output, count, devices in (("one", 1, 2), ("two", 2, 1)):
        ended = finish(start(arguments(records, tmp_path / output, **stored), count, devices=devices))
        assert [status for status, *_ in ended] == [0] * count, ended
        assert "videos/s" in ended[0][1] and not any("videos/s" in shown for _, shown, _ in ended[1:])
    one, two = (sorted((tmp_path / output / "features").glob("*/*.features")) for output in ("one", "two"))
    assert [path.name for path in two] == [path.name for path in one] != []
    for paths in zip(one, two, strict=True):
        first, second = (np.frombuffer(path.read_bytes()[:-4], np.float16) for path in paths)
        np.testing.assert_allclose(second, first, atol=1e-3)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
