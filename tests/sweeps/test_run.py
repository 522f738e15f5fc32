"""Sweeps of a model that recites: what is asked, what is skipped, what fails, and that no split of the work changes an answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.distributed.apart import Share
from pvchat_jax.sweeps import run as sweeps
from pvchat_jax.sweeps import units
from pvchat_jax.sweeps.results import read_item
from tests.sweeps.reciting import RecitingRuns, answers_of

QUIET = Console(quiet=True)
ONE = MeshConfig(data=1)


def sweep(config, share: Share = sweeps.ALONE) -> list[dict]:
    return sweeps.run_sweep(config, QUIET, share)


def of_system(out: Path, system: str) -> list[dict]:
    return next(lines for name, lines in answers_of(out).items() if f"-{system}-" in name)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecitingRuns]:
    """Runs with a finished sweep of one device in `out`."""
    with pytest.MonkeyPatch.context() as patch:
        runs = RecitingRuns(tmp_path_factory.mktemp("swept"), patch)
        runs.entries = sweep(runs.config(runs.run(), mesh=ONE))
        yield runs


def test_all_systems_answer_the_same_questions(swept: RecitingRuns) -> None:
    out = swept.folder / "out"
    assert [entry["state"] for entry in swept.entries] == ["done"] * 8
    said = of_system(out, "personalized")
    assert [line["answer"] for line in said] == swept.expected
    places = [(line["record"], line["number"], line["question"], line["gold"]) for line in said]
    assert places == sorted(places, key=lambda place: place[:2])
    for lines in answers_of(out).values():
        assert [(line["record"], line["number"], line["question"], line["gold"]) for line in lines] == places
    assert all("Alex" in line["asked"] and "<Wilson>" in line["question"] for line in of_system(out, "name_swapped"))
    assert {line["answer"] for line in of_system(out, "always_no")} == {"No, <Wilson> is not here.", "<Wilson> is not here."}
    shuffled = of_system(out, "question_only")
    assert [line["answer"] for line in shuffled] != swept.expected  # the model tells videos apart, and saw others
    names = {entry["system"]: entry["item"] for entry in swept.entries}
    found = read_item(out / "items" / names["personalized"])
    assert (found.about["step"], found.about["num_videos"], found.about["decoding_options"]["num_beams"]) == (7, 7, 1)
    assert found.activity.num_present == 4 and read_item(out / "items" / names["majority"]).activity is None


def test_videos_are_read_once_and_each_model_is_loaded_once(runs: RecitingRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = units.read_video
    monkeypatch.setattr(units, "read_video", lambda path, data: read.append(path) or original(path, data))
    sweep(runs.config(runs.run(), checkpoints=("all",), decoding=("greedy", "num_beams=2"), mesh=ONE))
    assert len(read) == len(set(read)) == 7
    assert sorted(runs.loaded, key=str) == [("stage2", 3), ("stage2", 7), ("stage2", None)]
    assert runs.model.traces["encode_video"] == 1


def test_what_is_done_is_not_asked_again_and_what_is_missing_is(swept: RecitingRuns) -> None:
    config = swept.config(swept.run(), mesh=ONE)
    before = answers_of(swept.folder / "out")
    swept.loaded.clear()
    sweep(config)
    assert swept.loaded == []
    name = next(name for name in before if "-blind-" in name)
    (swept.folder / "out" / "items" / name / "item.json").unlink()
    sweep(config)
    assert swept.loaded == [("stage2", 7)]
    assert answers_of(swept.folder / "out") == before


def test_processes_own_units_and_a_later_start_finishes_what_one_left(swept: RecitingRuns) -> None:
    config = swept.config(swept.run(), out="two", mesh=ONE)
    assert {entry["state"] for entry in sweep(config, Share(1, 2))} == {"open"}
    part = next((swept.folder / "two").rglob("1-of-2.jsonl"))
    part.write_bytes(part.read_bytes()[:-9])  # killed while it wrote
    states = [entry["state"] for entry in sweep(config, Share(0, 2))]
    assert (states.count("open"), states.count("done")) == (1, 7)
    assert {entry["state"] for entry in sweep(config)} == {"done"}
    assert answers_of(swept.folder / "two") == answers_of(swept.folder / "out")


def test_eight_devices_answer_as_one_does(swept: RecitingRuns) -> None:
    sweep(swept.config(swept.run(), out="eight"))
    assert answers_of(swept.folder / "eight") == answers_of(swept.folder / "out")
    mesh = json.loads(next((swept.folder / "eight").rglob("item.json")).read_text())["mesh"]
    assert mesh == {"processes": 1, "data": 8, "fsdp": 1, "tensor": 1}


def test_what_fails_is_noted_and_the_rest_goes_on_and_is_tried_again(runs: RecitingRuns) -> None:
    (runs.folder / "bad.jsonl").write_text("{")
    good, other = runs.run(), runs.run("other")
    runs.damaged = {("stage2", 3)}
    config = runs.config(good, other, records=(str(runs.records), str(runs.folder / "bad.jsonl")), checkpoints=("all",), mesh=ONE)
    states = {(entry["system"], entry["run"], entry["step"]): entry for entry in sweep(config)}
    assert states["personalized", good, 7]["state"] == states["base", good, None]["state"] == "done"
    assert "damaged" in states["personalized", good, 3]["reason"] and "damaged" in states["blind", good, 3]["reason"]
    assert "bad.jsonl" in states["personalized", other, None]["reason"]
    saved = json.loads((runs.folder / "out" / "sweep.json").read_text())["items"]
    assert [entry["state"] for entry in saved].count("failed") == 5
    runs.damaged = set()
    assert [entry["state"] for entry in sweep(config)].count("failed") == 1


def test_videos_that_cannot_be_read_are_set_aside(runs: RecitingRuns) -> None:
    (runs.folder / "1.png").write_bytes(b"no picture")
    entries = sweep(runs.config(runs.run(), systems=("personalized", "majority", "question_only"), mesh=ONE))
    for entry in entries:
        found = read_item(runs.folder / "out" / "items" / entry["item"])
        assert [Path(item.video).name for item in found.set_aside] == ["1.png"]
        assert len({answer.video for answer in found.answers}) == 6


def test_no_readable_video_is_a_failure(runs: RecitingRuns) -> None:
    for path in runs.folder.glob("*.png"):
        path.write_bytes(b"")
    entries = sweep(runs.config(runs.run(), systems=("personalized",), mesh=ONE))
    assert "none of the 7 videos" in entries[0]["reason"]


def test_draws_depend_on_the_question_and_the_seed_alone(runs: RecitingRuns) -> None:
    drawn = runs.config(runs.run(), systems=("personalized",), decoding=("temperature=9.0+max_new_tokens=3",), seeds=(0, 1), mesh=ONE)
    sweep(drawn)
    sweep(runs.config(runs.run(), systems=("personalized",), decoding=drawn.decoding, seeds=(0, 1), out="eight"))
    one, eight = answers_of(runs.folder / "out"), answers_of(runs.folder / "eight")
    assert one == eight
    first, second = ([line["answer"] for line in lines] for lines in one.values())
    assert first != second
