"""Sweeps and result files for tests, whose answers are drawn instead of generated."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvchat_jax.evaluation.answer_record import Answer

SHA = "0" * 64
_LOOKS = ("A red shirt.", "A blue jacket and a cap.", "A green striped shirt.", "A black shirt and a hat.")
_ACTIONS = ("Waving.", "Jumping.", "Nodding.", "Walking across.")
_PLACES = ("On the beach, on the left.", "In the snow, in the middle.", "In the kitchen, on the right.")
_KINDS = (("positive", None), ("easy_negative", None), ("positive", None), ("hard_negative", 1))


def drawn_answers(subject: str, quality: float, *, videos: int = 16, seed: int = 0, folder: str = "/videos") -> list[Answer]:
    """Four questions about each video; a share `quality` of the answers is right. The questions do not depend on quality."""
    rng = np.random.default_rng([seed, len(subject), round(1000 * quality)])
    truths = np.random.default_rng([1, len(subject)])
    answers = []
    for number in range(videos):
        role, grade = _KINDS[number % 4]
        present = role == "positive"
        about = {
            "video": f"{folder}/{subject.strip('<>')}/{number}.mp4",
            "subject": subject,
            "role": role,
            "grade": grade,
            "origin": ("real", "rendered")[number % 3 == 0],
            "people": 1 + (number % 5 == 0),
        }
        yes, no = f"Yes, {subject} is here.", f"No, {subject} is not here."
        right = rng.random() < quality
        odds = float(np.round(rng.normal(2.0) * (1 if present == right else -1), 2))
        asked = f"Is {subject} in this video?"
        said = yes if present == right else no
        answers.append(Answer(**about, question=asked, type="existence", gold=yes if present else no, answer=said, log_odds=odds))
        for kind, values, asked in (
            ("appearance", _LOOKS, f"What is {subject} wearing?"),
            ("action", _ACTIONS, f"What is {subject} doing?"),
            ("location", _PLACES, f"Where is {subject}?"),
        ):
            gold = str(truths.choice(values)) if present else f"{subject} is not here."
            said = gold if rng.random() < quality else str(rng.choice(values))
            answers.append(Answer(**about, question=asked, type=kind, gold=gold, answer=said))
    return answers


def write_item(directory: Path, name: str, answers: Sequence[Answer], **about: Any) -> dict[str, Any]:
    """One item of a sweep; returns its entry for sweep.json."""
    folder = directory / "items" / name
    folder.mkdir(parents=True)
    defaults = {
        "format": 1,
        "system": "personalized",
        "subject": answers[0].subject,
        "run": f"runs/{answers[0].subject.strip('<>').lower()}/stage2",
        "step": 400,
        "records": "test.jsonl",
        "records_sha256": SHA,
        "limit": None,
        "decoding": "greedy",
        "seed": 0,
        "threshold": 0.4,
        "set_aside": [],
    }
    values = defaults | about
    (folder / "item.json").write_text(json.dumps(values), encoding="utf-8")
    lines = [
        json.dumps(dataclasses.asdict(answer) | {"record": n // 4, "number": n % 4, "asked": answer.question})
        for n, answer in enumerate(answers)
    ]
    (folder / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"item": name, "state": "done", "reason": None} | {
        field: values[field] for field in ("run", "system", "step", "records", "decoding", "seed", "subject")
    }


def write_sweep(
    directory: Path,
    *,
    quality: float = 0.9,
    subjects: Sequence[str] = ("<Wilson>", "<Mara>"),
    steps: Sequence[int] = (400,),
    decodings: Sequence[str] = ("greedy",),
    videos: int = 16,
    folder: str = "/videos",
) -> Path:
    """A finished sweep of some subjects with blind and impersonal systems."""
    entries = []
    for subject in subjects:
        for step in steps:
            for decoding in decodings:
                name = f"{subject.strip('<>')}-{step}-{decoding.replace('=', '')}"
                for system, share in (("personalized", quality), ("question_only", 0.5), ("wrong_person", 0.55)):
                    answers = drawn_answers(subject, share, videos=videos, seed=step, folder=folder)
                    entries.append(write_item(directory, f"{name}-{system}", answers, system=system, step=step, decoding=decoding))
        base = drawn_answers(subject, 0.52, videos=videos, folder=folder)
        for decoding in decodings:
            entries.append(
                write_item(directory, f"{subject.strip('<>')}-{decoding}-base", base, system="base", step=None, decoding=decoding)
            )
    entries.append({"item": "broken", "state": "failed", "reason": "out of memory", "system": "personalized", "subject": subjects[0]})
    values = {"format": 1, "settings": {}, "items": entries, "left_out": [], "seconds": 1.0}
    (directory / "sweep.json").write_text(json.dumps(values), encoding="utf-8")
    return directory


def result_json(answers: Sequence[Answer], model: str = "PVChat", *, labels: bool = True) -> dict[str, Any]:
    """Answers as a result file of the original project."""
    videos: dict[str, dict[str, Any]] = {}
    for answer in answers:
        label = {"is_positive": answer.present} if labels else {}
        video = videos.setdefault(answer.video, {"video_path": answer.video, **label, "qa_pairs": []})
        special = answer.type == "existence"
        video["qa_pairs"].append(
            {"question": answer.question, "answer": answer.gold, "generated_answer": answer.answer, "is_special": special}
        )
    return {"model_name": model, "results": list(videos.values())}
