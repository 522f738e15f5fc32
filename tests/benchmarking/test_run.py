"""The benchmark's bookkeeping: what is finished is kept, and other settings are refused."""

import dataclasses
import json
from pathlib import Path

import pytest
from rich.console import Console

from configs import cast
from pvchat_jax.benchmarking import run
from pvchat_jax.benchmarking.numbers import NUMBERS
from pvchat_jax.errors import UserError

NUMBERS_OF = {name: dict.fromkeys(NUMBERS, value) for name, value in (("personalized", 0.9), ("base", 0.5))}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Replaces personalisation and answering; returns what was called for."""
    made: list[object] = []

    def run_member(config: object, member: run.Member, console: Console) -> dict[str, object]:
        made.append(member)
        numbers = {name: {number: value - member.subject / 10 for number, value in of.items()} for name, of in NUMBERS_OF.items()}
        people = {name: {"present": 1.0} for name in NUMBERS_OF}
        return {"subject": member.subject, "seed": member.seed, "seconds": {"all": 5.0}, "numbers": numbers, "by_person": people}

    def ask_wrong_person(config: object, member: run.Member, console: Console) -> dict[str, object]:
        made.append(("wrong", member))
        return {"numbers": dict.fromkeys(NUMBERS, 0.5), "by_person": {"present": 0.0}}

    monkeypatch.setattr(run, "_run_member", run_member)
    monkeypatch.setattr(run, "_ask_wrong_person", ask_wrong_person)
    return made


def settings(out: Path, **changes: object) -> object:
    return dataclasses.replace(cast.tiny(), **({"output_dir": str(out), "subjects": (0, 1), "seeds": (0,)} | changes))


def test_scores_are_means_over_runs_with_spread(tmp_path: Path, asked: list[object]) -> None:
    values = json.loads(run.run_benchmark(settings(tmp_path), Console(quiet=True)).read_text())
    assert values["num_runs"] == 2
    assert values["scores"]["personalized"] == pytest.approx(dict.fromkeys(NUMBERS, 0.85))
    assert values["spread"]["personalized"] == pytest.approx(dict.fromkeys(NUMBERS, 0.005**0.5))
    assert values["scores"]["wrong_person"] == dict.fromkeys(NUMBERS, 0.5)
    assert values["existence_by_person"]["base"]["mean"] == {"present": 1.0}


def test_finished_runs_are_kept_and_more_can_be_added(tmp_path: Path, asked: list[object]) -> None:
    run.run_benchmark(settings(tmp_path), Console(quiet=True))
    asked.clear()
    run.run_benchmark(settings(tmp_path), Console(quiet=True))
    assert asked == []
    run.run_benchmark(settings(tmp_path, seeds=(0, 1)), Console(quiet=True))
    assert [item for item in asked if isinstance(item, run.Member)] == [run.Member(0, 1), run.Member(1, 1)]


def test_other_settings_are_refused(tmp_path: Path, asked: list[object]) -> None:
    run.run_benchmark(settings(tmp_path), Console(quiet=True))
    with pytest.raises(UserError, match="other settings"):
        run.run_benchmark(settings(tmp_path, num_test=80), Console(quiet=True))
