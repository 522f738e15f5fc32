"""The benchmark's runs in order, each kept when it is finished, and the summary of all of them."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from pvchat_jax.benchmarking.numbers import existence_by_person, mean_and_spread, numbers_of
from pvchat_jax.benchmarking.systems import (
    ALWAYS_NO,
    ALWAYS_YES,
    PERSONALIZED,
    WRONG_PERSON,
    ask_others,
    ask_run,
    constant_answers,
    encode_test,
)
from pvchat_jax.config.benchmark_schema import BenchmarkConfig
from pvchat_jax.config.drawn_person_schema import DrawnPersonConfig
from pvchat_jax.config.flags import to_dict
from pvchat_jax.config.run_directory import read_config
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.personalisation.run import personalise
from pvchat_jax.world.build import WorldPaths, build_world
from pvchat_jax.world.corpus import build_corpus_around
from pvchat_jax.world.plan import subject_of

RESULT_FILE, WRONG_PERSON_FILE, SCORES_FILE, SETTINGS_FILE = "result.json", "wrong_person.json", "scores.json", "benchmark.json"


class Member(NamedTuple):
    """One personalisation: subject and seed."""

    subject: int
    seed: int


def run_benchmark(config: BenchmarkConfig, console: Console) -> Path:
    """Runs what is not finished yet and writes `scores.json`; returns its path.

    Raises:
      UserError: the output directory belongs to a benchmark of other settings.
      pvchat_jax.training.loop.Interrupted: a signal came; the same call goes on from there.
    """
    out = Path(config.output_dir)
    claim(out, config)
    members = [Member(subject, seed) for seed in config.seeds for subject in config.subjects]
    results: list[dict[str, Any]] = []
    for number, member in enumerate(members, start=1):
        console.rule(f"subject {member.subject}, seed {member.seed} ({number} of {len(members)})")
        results.append(_finish(_folder(out, member) / RESULT_FILE, functools.partial(_run_member, config, member, console)))
        write_scores(out, config, results)
    if config.baselines and len(config.subjects) > 1:
        for member, result in zip(members, results, strict=True):
            wrong = _finish(_folder(out, member) / WRONG_PERSON_FILE, functools.partial(_ask_wrong_person, config, member))
            result["numbers"][WRONG_PERSON], result["by_person"][WRONG_PERSON] = wrong["numbers"], wrong["by_person"]
        write_scores(out, config, results)
    return out / SCORES_FILE


def claim(out: Path, config: BenchmarkConfig) -> None:
    """Notes the settings in the output directory, or refuses one with others; subjects and seeds may be added."""
    settings = to_dict(dataclasses.replace(config, subjects=(0,), seeds=(0,)))
    path = out / SETTINGS_FILE
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(settings)):
            raise UserError(f"{out} holds a benchmark of other settings (see {path}); choose another --config.output_dir.")
        return
    write_atomically(path, json.dumps(settings, indent=1) + "\n")


def _finish(path: Path, part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `part` returned, now or when it was run before."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    result = part()
    write_atomically(path, json.dumps(result, indent=1) + "\n")
    return result


def _folder(out: Path, member: Member) -> Path:
    return out / f"subject_{member.subject}" / f"seed_{member.seed}"


def _world(config: BenchmarkConfig, subject: int) -> Path:
    return Path(config.shared_dir or config.output_dir) / f"subject_{subject}" / "world"


def draw_test(config: BenchmarkConfig, subject: int) -> WorldPaths:
    """The reference video and the test videos of a subject."""
    return build_world(_world(config, subject), subject=config.personalise.subject, num_test=config.num_test, seed=subject)


def draw_corpus(config: BenchmarkConfig, subject: int) -> str:
    """The folder with single videos of other people, among them some who look like the subject; empty where clips are rendered."""
    if config.personalise.clip_source == "rendered":
        return ""
    folder = _world(config, subject).with_name("corpus")
    build_corpus_around(folder, subject)
    return str(folder)


def member_config(config: BenchmarkConfig, member: Member) -> DrawnPersonConfig:
    """How a member is personalised; seeds of clips differ between subjects."""
    return dataclasses.replace(
        config.personalise,
        video=str(_world(config, member.subject) / "videos" / "reference.mp4"),
        output_dir=str(_folder(Path(config.output_dir), member)),
        shared_dir=str(_folder(Path(config.shared_dir), member)) if config.shared_dir else "",
        seed=1000 * member.subject + member.seed,
        corpus=draw_corpus(config, member.subject),
    )


def _run_member(config: BenchmarkConfig, member: Member, console: Console) -> dict[str, Any]:
    """Personalises, asks every system, and returns their numbers."""
    world = draw_test(config, member.subject)
    own = member_config(config, member)
    done = personalise(own, console)
    test = encode_test(done.run, world.test)
    personal = ask_run(done.run, test)
    systems = {PERSONALIZED: personal.answers}
    if config.baselines:
        systems |= ask_others(done.run, read_config(done.run), test, member.seed)
        systems |= {name: constant_answers(personal.answers, name).answers for name in (ALWAYS_YES, ALWAYS_NO)}
    truth = subject_of(member.subject)
    return {
        "subject": member.subject,
        "seed": member.seed,
        "seconds": {name: round(value, 1) for name, value in done.seconds.items()},
        "misread": [*truth.identity.differences(done.looks.subject.identity)],
        "numbers": {name: numbers_of(answers) for name, answers in systems.items()},
        "by_person": {name: existence_by_person(answers) for name, answers in systems.items()},
        "set_aside": [item._asdict() for item in test.set_aside],
    }


def _ask_wrong_person(config: BenchmarkConfig, member: Member) -> dict[str, Any]:
    """The numbers of a model that has learnt the next subject, asked about this one."""
    position = config.subjects.index(member.subject)
    other = Member(config.subjects[(position + 1) % len(config.subjects)], member.seed)
    run = _folder(Path(config.output_dir), other) / "stage2"
    answers = ask_run(run, encode_test(run, draw_test(config, member.subject).test)).answers
    return {"numbers": numbers_of(answers), "by_person": existence_by_person(answers)}


def write_scores(out: Path, config: BenchmarkConfig, results: Sequence[Mapping[str, Any]]) -> None:
    """Means and spreads over the results so far, by system."""
    names = dict.fromkeys(name for result in results for name in result["numbers"])
    pairs = {name: mean_and_spread([result["numbers"][name] for result in results if name in result["numbers"]]) for name in names}
    kinds = {name: mean_and_spread([result["by_person"][name] for result in results if name in result["by_person"]]) for name in names}
    values = {
        "num_runs": len(results),
        "scores": {name: mean for name, (mean, _) in pairs.items()},
        "spread": {name: spread for name, (_, spread) in pairs.items()},
        "existence_by_person": {name: {"mean": mean, "spread": spread} for name, (mean, spread) in kinds.items()},
        "seconds": mean_and_spread([{"all": sum(result["seconds"].values())} for result in results])[0]["all"],
        "runs": list(results),
    }
    write_atomically(out / SCORES_FILE, json.dumps(values, indent=1) + "\n")
