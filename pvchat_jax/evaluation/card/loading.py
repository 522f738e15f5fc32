"""Reads what can be scored: a sweep's directory, a single evaluation, or a result file of the original project."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.data.json_fields import parse_json, read_text
from pvchat_jax.data.reference_json import Result, parse_results, people_asked_for
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer, SetAside, as_answer
from pvchat_jax.evaluation.card.answer_json import answer_from_json
from pvchat_jax.evaluation.card.sweep_items import SWEEP_FILE, read_sweep_systems
from pvchat_jax.evaluation.card.systems import System, with_constants


def load_systems(path: Path, subject: str | None = None) -> list[System]:
    """The systems of one input, models first, each followed by what it is held against.

    Args:
      path: of a sweep's directory, of an `evaluation.json`, or of a result file of the original project or its baselines.
      subject: whom a result file is read for; None for everybody whom its questions name.

    Raises:
      UserError: there is no such thing, or the first mistake in it.
    """
    path = Path(path)
    if path.is_dir():
        if (path / SWEEP_FILE).is_file():
            return read_sweep_systems(path)
        if (path / "evaluation.json").is_file():
            return load_systems(path / "evaluation.json")
        raise UserError(f"{path} holds neither {SWEEP_FILE} nor evaluation.json; name the output directory of an evaluation.")
    text = read_text(path)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path} {error}; name a directory of an evaluation, or a result file.") from error
    if isinstance(value, dict) and "results" in value:
        return _from_results(path, text, value, subject)
    if isinstance(value, dict) and "answers" in value:
        return _from_evaluation(path, value)
    raise UserError(f"{path} has neither results nor answers; name a directory of an evaluation, an evaluation.json, or a result file.")


def _from_evaluation(path: Path, value: Mapping[str, Any]) -> list[System]:
    answers = tuple(answer_from_json(item, f"{path}, answer {number}") for number, item in enumerate(value["answers"], start=1))
    facts = {name: str(value[name]) for name in ("run", "records", "model", "stage", "step") if name in value}
    set_aside = tuple(SetAside(item["video"], item["reason"]) for item in value.get("set_aside", ()))
    runs = (facts["run"],) if "run" in facts else ()
    return with_constants(System(name="personalized", kind="model", answers=answers, facts=facts, set_aside=set_aside, runs=runs))


def _from_results(path: Path, text: str, value: Mapping[str, Any], subject: str | None) -> list[System]:
    subjects = [subject] if subject else people_asked_for(text)
    if not subjects:
        raise UserError(f"{path} names nobody in its questions; say whom they are about with --subject.")
    answers: list[Answer] = []
    missing = 0
    for name in subjects:
        results, problems = parse_results(text, str(path), name)
        if problems:
            raise UserError(str(problems[0]))
        missing += sum(generated is None for result in results for generated in result.generated)
        answers += [answer for result in results for answer in _answers_of(result)]
    facts = {"file": str(path), "model": str(value.get("model_name", "")) or "not stated"}
    if missing:
        facts["unanswered"] = f"{missing} questions have no generated answer and count as wrong"
    return with_constants(System(name=path.stem, kind="model", answers=tuple(answers), facts=facts))


def _answers_of(result: Result) -> Iterator[Answer]:
    record = result.record
    for question, generated in zip(record.questions, result.generated, strict=True):
        yield as_answer(record, question, (generated or "").strip())


def named_apart(inputs: Sequence[tuple[str, list[System]]]) -> list[System]:
    """The systems of several inputs, whose names get the title of their input before them where they would be alike."""
    taken = [system.name for _, systems in inputs for system in systems]

    def rename(title: str, name: str) -> str:
        return f"{title}: {name}" if name and taken.count(name) > 1 else name

    return [
        dataclasses.replace(system, name=rename(title, system.name), beside=rename(title, system.beside))
        for title, systems in inputs
        for system in systems
    ]
