"""One small interface for numbers by step, and the services behind it; each is imported when it is asked for."""

import json
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pvchat_jax.config.tracking_schema import TrackingConfig
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

TENSORBOARD = "tensorboard"
RUNS_FILE = "tracking.json"  # by service the id of the run there, so that a run that continues here continues there


class Tracker(Protocol):
    """Takes numbers by name for a step, all of them finite."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None:
        """Writes out what is still in memory."""


def open_trackers(config: TrackingConfig, directory: Path, first_step: int, settings: Mapping[str, Any]) -> list[Tracker]:
    """TensorBoard in `directory`, and the services that `config` names.

    Args:
      first_step: that will be written next; TensorBoard hides those from it on that an earlier start wrote.
      settings: of the run, by dotted name.

    Raises:
      UserError: a service's package is not installed, or it cannot be reached.
    """
    opened: list[Tracker] = [TensorBoardTracker(directory, first_step)]
    makers = {"wandb": WandbTracker, "mlflow": MlflowTracker}
    return opened + [makers[name](config, directory, settings) for name in config.trackers]


class TensorBoardTracker:
    def __init__(self, directory: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        # The suffix keeps a quick restart from overwriting a file that is named by the second.
        self._writer = SummaryWriter(str(directory / TENSORBOARD), purge_step=first_step, filename_suffix=f".{first_step}")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandbTracker:
    """Weights & Biases; offline, its files are in `wandb/` of the directory."""

    def __init__(self, config: TrackingConfig, directory: Path, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _not_installed("wandb") from error
        own = _runs(directory).get("wandb") or secrets.token_hex(4)
        try:
            self._run = wandb.init(
                project=config.project,
                name=directory.name,
                id=own,
                resume="allow" if config.wandb_mode == "online" else None,  # offline the same id does, when it is sent
                dir=str(directory),
                mode=config.wandb_mode,
                config=dict(settings),
                settings=wandb.Settings(silent=True),
            )
        except wandb.errors.Error as error:
            raise UserError(
                f"Weights & Biases did not start ({error}); log in with `wandb login`, or set tracking.wandb_mode=offline."
            ) from error
        _note_run(directory, "wandb", own)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


class MlflowTracker:
    """MLflow; without a server, the database mlflow.db in the directory."""

    def __init__(self, config: TrackingConfig, directory: Path, settings: Mapping[str, Any]) -> None:
        try:
            from mlflow.entities import Metric, Param
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise _not_installed("mlflow") from error
        self._metric = Metric
        uri = config.mlflow_uri or f"sqlite:///{directory.absolute() / 'mlflow.db'}"
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._run_id = _runs(directory).get("mlflow")
            if self._run_id is None:
                found = self._client.get_experiment_by_name(config.project)
                experiment = found.experiment_id if found else self._client.create_experiment(config.project)
                self._run_id = self._client.create_run(experiment, run_name=directory.name).info.run_id
                params = [Param(name, str(value)[:500]) for name, value in settings.items()]
                for start in range(0, len(params), 100):  # as many as a request takes
                    self._client.log_batch(self._run_id, params=params[start : start + 100])
            else:
                self._client.update_run(self._run_id, status="RUNNING")
        except MlflowException as error:
            raise UserError(f"MLflow at {uri} did not answer ({str(error)[:200]}); correct tracking.mlflow_uri.") from error
        _note_run(directory, "mlflow", self._run_id)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        now = round(1000 * time.time())
        self._client.log_batch(
            self._run_id, metrics=[self._metric(_mlflow_name(name), value, now, step) for name, value in numbers.items()]
        )

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


def _mlflow_name(name: str) -> str:
    """MLflow takes some characters only."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _not_installed(name: str) -> UserError:
    return UserError(f"tracking.trackers names {name}, which is not installed; run pip install 'pvchat_jax[{name}]', or leave it out.")


def _runs(directory: Path) -> dict[str, str]:
    path = directory / RUNS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _note_run(directory: Path, service: str, own: str) -> None:
    write_atomically(directory / RUNS_FILE, json.dumps(_runs(directory) | {service: own}) + "\n")
