"""How far `python -m pvchat_jax.personalize` is, read from the files that it writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pvchat_jax.config.run_directory import CONFIG_FILE
from pvchat_jax.server.schemas import Step

SHEET_FILE, PEOPLE_FILE, VERDICT_FILE = "contact_sheet.html", "people.html", "verdict.json"
_STAGES = {
    "watch": "look at the video",
    "find": "find the person",
    "cast": "choose other people",
    "film": "cut clips",
    "generate": "make clips",
    "ask": "write questions",
}
_SCORES = {
    "balanced_accuracy": "right about who is there",
    "far": "others taken for the person",
    "frr": "the person not recognised",
    "auc": "ranking of videos (AUC)",
}


def read_steps(folder: Path, *, is_over: bool) -> list[Step]:
    """The parts in their order, of the training set in `folder`."""
    found = list(_counts(folder))
    last = max((number for number, (_, done, _) in enumerate(found) if done), default=-1)
    steps = []
    for number, (name, done, total) in enumerate(found):
        if number < last or (number == last and (is_over or done == total)):
            state = "done"
        elif number == max(last, 0) or (number == last + 1 and steps[-1].state == "done"):
            state = "waiting" if is_over else "running"
        else:
            state = "waiting"
        steps.append(Step(name=name, state=state, done=done, total=total))
    return steps


def read_verdict(folder: Path) -> list[str]:
    """What is to be said of the training set: problems, remarks, and what to film next."""
    values = _object(folder / VERDICT_FILE)
    kinds = {"problems": "Problem", "remarks": "Remark", "film_next": "Film next"}
    return [f"{kind}: {text}." for field, kind in kinds.items() for text in values.get(field, [])]


def read_scores(folder: Path) -> dict[str, float]:
    """Shares in [0, 1] of the test, by what they mean; empty where none was made."""
    scores = _object(folder / "evaluation" / "evaluation.json").get("scores", {}).get("existence", {})
    return {meaning: scores[name] for name, meaning in _SCORES.items() if isinstance(scores.get(name), int | float)}


def _counts(folder: Path) -> Iterator[tuple[str, int, int | None]]:
    """Name, pieces that are done, and of how many, where that is known."""
    for stage, name in _STAGES.items():
        place = folder / "stages" / stage
        yield name, sum(1 for _ in place.glob("*/*.json")) if place.is_dir() else 0, None
    yield "contact sheet", int((folder / SHEET_FILE).is_file()), 1
    for run in sorted(folder.glob("stage[12]")) or [folder / "stage2"]:
        total = _object(run / CONFIG_FILE).get("num_steps")
        yield "learn", _last_step(run / "metrics.jsonl"), total if isinstance(total, int) else None
    yield "test", int((folder / "evaluation" / "evaluation.json").is_file()), 1


def _last_step(path: Path) -> int:
    """Of a file of metrics, whose last line may be cut short."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    for line in reversed(lines[-3:]):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
