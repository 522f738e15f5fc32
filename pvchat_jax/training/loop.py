"""The training loop: the order of operations and nothing else.

    save what is due -> next batch -> step -> look at the step before last -> report

A checkpoint is written *before* the batch after it is taken, so its data position and its state belong
together. The loop never waits for the step it has just started: metrics travel to the host while the device
works and are read one step later.
"""

import contextlib
import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple

import jax

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.sharding import put_batch
from pvchat_jax.training.checkpoint import Checkpoints, is_disk_full
from pvchat_jax.training.metrics import MetricsWriter, ProgressReport, Throughput, describe
from pvchat_jax.training.partition import Params
from pvchat_jax.training.state import TrainState

Step = Callable[[TrainState, Params, Mapping[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]
STEPS_IN_FLIGHT = 2


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM came and everything is saved at `step`; no `except Exception` on the way should stop it."""

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name} at step {step}")
        self.signum = signum
        self.step = step


class Outputs(NamedTuple):
    """Where a run writes; `metrics` is None on all processes but the first."""

    checkpoints: Checkpoints
    metrics: MetricsWriter | None
    progress: ProgressReport
    meta: dict[str, Any]


def train(
    config: TrainConfig, step_fn: Step, state: TrainState, frozen: Params, iterator: Any, mesh: jax.sharding.Mesh, out: Outputs
) -> TrainState:
    """Trains from `state.step` to `config.num_steps`.

    Args:
      step_fn: from `make_train_step`; takes over the buffers of the state it is given.
      iterator: grain iterator of this process's batches, at the position that belongs to `state`.

    Returns:
      The last state, which has been saved.

    Raises:
      UserError: the loss or a gradient is not finite, or the disk is full. The last good checkpoint is named.
      Interrupted: after a signal, with everything saved.
    """
    first = done = int(jax.device_get(state.step))
    pending: deque[tuple[int, dict[str, jax.Array]]] = deque()
    reporter = _Reporter(config, out, first)
    with _stop_signals() as stop, _naming_last_checkpoint(out.checkpoints):
        while done < config.num_steps:
            interrupted = _should_stop(stop, out.checkpoints, done)
            if done > first and (interrupted or done % config.checkpoint.every_steps == 0):
                reporter.read(pending, leave=0)  # never save after a bad step
                out.checkpoints.save(done, state, iterator, out.meta)
            if interrupted:
                out.checkpoints.wait()
                raise Interrupted(interrupted, done)
            with reporter.waiting_for_data():
                host_batch = next(iterator)
            batch = put_batch(host_batch, mesh)
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, frozen, batch)
            done += 1
            for value in metrics.values():
                value.copy_to_host_async()
            pending.append((done, metrics))
            reporter.read(pending, leave=STEPS_IN_FLIGHT - 1)
        reporter.read(pending, leave=0)
        if done > first:
            out.checkpoints.save(done, state, iterator, out.meta)
        out.checkpoints.wait()
        if stop:  # it came with the last step; whoever called us should stop all the same
            raise Interrupted(stop[0], done)
    return state


class _Reporter:
    """Reads finished steps, guards against numbers that are not finite, and writes what is due."""

    def __init__(self, config: TrainConfig, out: Outputs, first: int) -> None:
        self._config = config
        self._out = out
        self._first = first
        self._throughput = Throughput(config.data.batch_size)

    def waiting_for_data(self) -> contextlib.AbstractContextManager[None]:
        """Around what takes the next batch; how long the loop spent in it is reported."""
        return self._throughput.waiting_for_data()

    def read(self, pending: deque[tuple[int, dict[str, jax.Array]]], *, leave: int) -> None:
        """Takes the oldest steps out of `pending` until `leave` are left, waiting for each to finish."""
        while len(pending) > leave:
            step, device_metrics = pending.popleft()
            metrics = {name: float(value) for name, value in jax.device_get(device_metrics).items()}
            if metrics["finite"] == 0 or not math.isfinite(metrics["loss"]):
                raise UserError(_explain_not_finite(step, metrics, self._out.checkpoints))
            self._report(step, metrics)

    def _report(self, step: int, metrics: dict[str, float]) -> None:
        self._out.progress.advance(step)
        if step == self._first + 1:
            self._throughput.start(step)  # the step that compiled
        due = step % self._config.log_every == 0 or step == self._config.num_steps
        if due:
            metrics |= self._throughput.rates(step)
        if due or step == self._first + 1:
            self._out.progress.show(step, metrics)
        if due and self._out.metrics is not None:
            self._out.metrics.write(step, metrics)


def _explain_not_finite(step: int, metrics: Mapping[str, float], checkpoints: Checkpoints) -> str:
    return (
        f"step {step} is not finite: {describe(metrics)}, gradient norm {metrics['grad_norm']:.4g}; {checkpoints.last_good()}; "
        "lower the learning rates or look at the batch's data, then train into another --config.output_dir."
    )


def _should_stop(stop: list[int], checkpoints: Checkpoints, done: int) -> int:
    """Number of the signal to stop for, or 0; with several processes all of them learn of it at the same step."""
    if jax.process_count() > 1:
        return int(signal.SIGTERM) if checkpoints.reached_preemption(done) else 0
    return stop[0] if stop else 0


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them; a second one acts at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread() or jax.process_count() > 1:
        yield received
        return

    def note(signum: int, _: FrameType | None) -> None:
        received.append(signum)
        signal.signal(signum, previous[signum])

    previous = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def _naming_last_checkpoint(checkpoints: Checkpoints) -> Iterator[None]:
    """A full disk may show in any write, not only in a checkpoint's."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise checkpoints.explain_full_disk() from error
