"""A folder with videos, questions and runs whose model recites the right answers, for tests of sweeps: nothing is trained."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import pytest

from pvchat_jax.config.evaluation_schema import EvaluationConfig
from pvchat_jax.config.run_directory import write_config
from pvchat_jax.data.record_files import write_records
from pvchat_jax.errors import UserError
from pvchat_jax.sweeps import fingerprints, grid, models
from pvchat_jax.training.initialise import LoadedRun
from tests.evaluation.test_generation import CONFIG, make_case

STEPS = (3, 7)


class RecitingRuns:
    """Runs in `folder` with checkpoints at `STEPS`; `records` has seven videos, every second one with the subject.

    Attributes:
      loaded: (run, step) of every model that was loaded, step None for the base.
      damaged: of (run, step) that cannot be loaded.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.records = folder, folder / "test.jsonl"
        self.tokenizer, self.model, records, self.expected = make_case(folder, [2, 1, 3, 2, 2, 1, 2])
        for index, record in enumerate(records):
            records[index] = dataclasses.replace(record, role="easy_negative" if index % 2 else "positive")
        write_records(self.records, records)
        self.loaded: list[tuple[str, int | None]] = []
        self.damaged: set[tuple[str, int]] = set()
        monkeypatch.setattr(models, "load_run", lambda run, mesh, step: self._load(run, step))
        monkeypatch.setattr(models, "load_base", lambda run, mesh: self._load(run, None))
        monkeypatch.setattr(models, "load_tokenizer", lambda directory, subjects: self.tokenizer)
        monkeypatch.setattr(grid, "saved_steps", lambda run: list(STEPS))
        monkeypatch.setattr(grid, "weights_of", lambda run, step: fingerprints.Weights(f"{run} {step}", "base", "encoder", "encoder"))

    def run(self, name: str = "stage2", subject: str = CONFIG.data.subject) -> str:
        """A new run's directory."""
        directory = self.folder / name
        write_config(dataclasses.replace(CONFIG, output_dir=str(directory), data=dataclasses.replace(CONFIG.data, subject=subject)))
        return str(directory)

    def config(self, *runs: str, out: str = "out", **changes: object) -> EvaluationConfig:
        given = {"runs": runs, "records": (str(self.records),), "output_dir": str(self.folder / out), "other_name": "Alex"}
        return EvaluationConfig(**(given | changes))

    def _load(self, run: str, step: int | None) -> LoadedRun:
        self.loaded.append((Path(run).name, step))
        if (Path(run).name, step) in self.damaged:
            raise UserError(f"checkpoint {run}/{step} is damaged.")
        return LoadedRun(CONFIG, self.model, jnp.float32(0), self.tokenizer, step or 0)


def answers_of(out: Path) -> dict[str, list[dict]]:
    """The lines of every finished item by its name."""
    return {
        path.parent.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(out.glob("items/*/answers.jsonl"))
    }
