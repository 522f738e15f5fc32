"""The order of operations: nothing lost, nothing saved that is bad, nothing compiled twice."""

import dataclasses
import functools
import io
import json
import signal

import grain
import jax
import numpy as np
import pytest
from rich.console import Console

from pvchat_jax.config.schema import CheckpointConfig
from pvchat_jax.errors import UserError
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.loop import Interrupted, Outputs, train
from pvchat_jax.training.metrics import MetricsWriter, ProgressReport
from pvchat_jax.training.step import make_train_step
from tests.training.stand_in import StandIn, make_batch, make_config
from tests.training.stand_in_run import assert_equal, leaves, make_batches, make_state

META = {"must_match": {}, "init_from_steps": []}


MODEL = StandIn(dropout=0.1)


@functools.cache
def shared_start():
    """The compiled step, and the first state on the host with its shardings: compiling is most of a test's time."""
    config = configure(20)
    state, frozen, mesh = make_state(config)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return make_train_step(MODEL, config, mesh), jax.device_get(state), shardings, frozen, mesh


def configure(num_steps, every_steps=100, log_every=1):
    config = make_config(num_steps=20, schedule="cosine")
    return dataclasses.replace(
        config, num_steps=num_steps, log_every=log_every, checkpoint=CheckpointConfig(every_steps=every_steps, keep=3)
    )


class Run:
    """One process's life of a run in `folder`: what `training/run.py` puts around the loop."""

    def __init__(self, folder, config, iterator=None):
        self.config = config
        self.iterator = make_batches() if iterator is None else iterator
        self.step_fn, state, shardings, self.frozen, self.mesh = shared_start()
        state = jax.device_put(state, shardings)
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=3)
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)
        self.state = self.checkpoints.restore(like, self.iterator, {}).state if self.checkpoints.steps() else state
        first = int(self.state.step)
        self.metrics = MetricsWriter(folder, first + 1)
        self.out = Outputs(self.checkpoints, self.metrics, ProgressReport(Console(file=io.StringIO()), first, config.num_steps), META)

    def go(self):
        try:
            return train(self.config, self.step_fn, self.state, self.frozen, self.iterator, self.mesh, self.out)
        finally:
            self.metrics.close()
            self.checkpoints.close()


def losses(folder):
    return {line["step"]: line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())}


class Watched(grain.DatasetIterator):
    """Batches of the stand-in; `at` maps a batch's number, from 1, to what happens when it is asked for."""

    def __init__(self, at):
        super().__init__()
        self.at = at
        self.number = 0

    def __next__(self):
        self.number += 1
        batch = make_batch(self.number)
        return self.at.get(self.number, lambda batch: batch)(batch)

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    expected = Run(whole, configure(7)).go()
    Run(parts, configure(3)).go()
    run = Run(parts, configure(7))
    assert int(run.state.step) == 3
    assert_equal(run.go(), expected)
    assert losses(parts) == losses(whole)
    assert list(losses(whole)) == [1, 2, 3, 4, 5, 6, 7]
    assert len(set(losses(whole).values())) == 7  # otherwise equality would say little


def test_nothing_is_compiled_twice_even_after_a_restore(tmp_path):
    Run(tmp_path, configure(2)).go()
    Run(tmp_path, configure(6, every_steps=2)).go()
    assert MODEL.num_traces == 1


def test_checkpoints_come_when_due_and_at_the_end(tmp_path):
    run = Run(tmp_path, configure(5, every_steps=2))
    run.go()
    assert run.checkpoints.steps() == [2, 4, 5]
    Run(tmp_path, configure(5, every_steps=2)).go()  # a finished run has nothing to do
    assert run.checkpoints.steps() == [2, 4, 5]


def test_the_position_in_a_checkpoint_is_that_of_its_state(tmp_path):
    iterator = Watched({})
    Run(tmp_path, configure(5, every_steps=2), iterator).go()
    for step in (2, 4):
        assert json.loads(next((tmp_path / f"checkpoints/{step}/data").glob("process*")).read_text()) == {"number": step}


def test_lines_come_every_log_every_steps_and_for_the_last(tmp_path):
    Run(tmp_path, configure(5, log_every=2)).go()
    assert list(losses(tmp_path)) == [2, 4, 5]


@pytest.mark.parametrize("bad_step", [3, 4])
def test_a_step_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path, bad_step):
    def spoil(batch):
        return {**batch, "video": np.full_like(batch["video"], np.nan)}

    run = Run(tmp_path, configure(8, every_steps=2), Watched({bad_step: spoil}))
    with pytest.raises(UserError) as caught:
        run.go()
    message = str(caught.value)
    for part in (
        f"step {bad_step} is not finite",
        "lm nan",
        "spr",
        "hae",
        f"last good checkpoint is step 2 in {run.checkpoints.directory}",
    ):
        assert part in message
    assert run.checkpoints.steps() == [2]
    assert max(losses(tmp_path)) == bad_step - 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_and_the_run_continues_exactly(tmp_path, signum):
    def interrupt(batch):
        signal.raise_signal(signum)
        return batch

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    expected = Run(whole, configure(6), Watched({})).go()
    before = signal.getsignal(signum)
    run = Run(parts, configure(6), Watched({4: interrupt}))
    with pytest.raises(Interrupted) as caught:
        run.go()
    assert (caught.value.signum, caught.value.step) == (signum, 4)
    assert run.checkpoints.steps() == [4]
    assert signal.getsignal(signum) is before
    assert_equal(Run(parts, configure(6), Watched({})).go(), expected)
    assert losses(parts) == losses(whole)


def test_a_signal_during_the_last_step_stops_whoever_called(tmp_path):
    run = Run(tmp_path, configure(2), Watched({2: lambda batch: signal.raise_signal(signal.SIGINT) or batch}))
    with pytest.raises(Interrupted):
        run.go()
    assert run.checkpoints.steps() == [2]


@pytest.fixture
def interruptible():
    """Python's own reaction to Ctrl-C, which a shell's background job starts without."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_is_not_waited_for(tmp_path):
    def interrupt_twice(batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        Run(tmp_path, configure(4), Watched({2: interrupt_twice})).go()
    assert not isinstance(caught.value, Interrupted)


def test_a_full_disk_in_the_numbers_names_the_last_good_checkpoint(tmp_path, monkeypatch):
    run = Run(tmp_path, configure(6, every_steps=2))
    write = run.metrics.write

    def fill_up(step, metrics):
        if step == 5:
            raise OSError(28, "No space left on device")
        write(step, metrics)

    monkeypatch.setattr(run.metrics, "write", fill_up)
    with pytest.raises(UserError, match=r"disk is full; the last good checkpoint is step 4 in .*start the same command again"):
        run.go()


def test_frozen_parameters_are_in_no_checkpoint(tmp_path):
    run = Run(tmp_path, configure(1))
    state = run.go()
    saved = {path.decode() for path in (tmp_path / "checkpoints/1/state/_METADATA").read_bytes().split(b'"')}
    names = {name.split("/")[-1] for name in leaves(state.trainable)}
    assert "embed_tokens" in {name.split("/")[-1] for name in leaves(run.frozen)}
    assert "subject_tokens" in names & saved
    assert "embed_tokens" not in saved
