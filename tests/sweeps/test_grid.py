"""Which items there are, and what their names depend on."""

from pathlib import Path

from pvchat_jax.config.evaluation_schema import CONSTANTS, SYSTEMS
from pvchat_jax.sweeps import grid
from pvchat_jax.sweeps.fingerprints import Weights
from tests.sweeps.reciting import RecitingRuns


def described(items: list) -> list[tuple]:
    return [(item.system, item.step, item.decoding, item.seed) for item in items]


def test_the_grid_is_complete_and_asks_nothing_twice(runs: RecitingRuns) -> None:
    config = runs.config(runs.run(), checkpoints=("all", "7"), decoding=("greedy", "temperature=0.5"), seeds=(0, 1))
    found = grid.plan(config)
    ways = [("greedy", 0), ("temperature=0.5", 0), ("temperature=0.5", 1)]  # another seed cannot change a greedy answer
    for system in ("personalized", "question_only", "blind", "name_swapped"):
        assert [row[1:] for row in described(found.items) if row[0] == system] == [(step, *way) for way in ways for step in (3, 7)]
    assert [row[1:] for row in described(found.items) if row[0] == "base"] == [(None, *way) for way in ways]
    assert [row for row in described(found.items) if row[0] in CONSTANTS] == [(name, None, "greedy", 0) for name in CONSTANTS]
    assert [(item.system, "other" in item.reason) for item in found.left_out] == [("wrong_person", True)]
    assert len({item.name for item in found.items}) == len(found.items)


def test_the_next_run_of_another_name_is_the_wrong_person(runs: RecitingRuns) -> None:
    first, second, third = runs.run("a"), runs.run("b"), runs.run("c", subject="<Ann>")
    found = grid.plan(runs.config(first, second, third, systems=("wrong_person",), records=(str(runs.records),)))
    assert [(item.run, item.other_run, item.other_step) for item in found.items[:2]] == [(first, third, 7), (second, third, 7)]
    assert "<Ann>" in found.items[2].reason  # no question is about them
    named = grid.plan(runs.config(first, systems=("wrong_person",), others=(second,)))
    assert [(item.other_run, item.weights) for item in named.items] == [(second, f"{second} 7")]


def test_names_change_with_what_answers_depend_on(runs: RecitingRuns, monkeypatch) -> None:
    config = runs.config(runs.run(), systems=SYSTEMS[:1])
    names = {grid.plan(config).items[0].name}
    (Path(config.runs[0]) / "threshold.json").write_text('{"threshold": 0.5}')
    names.add(grid.plan(config).items[0].name)
    (runs.folder / "0.png").write_bytes(b"")
    names.add(grid.plan(config).items[0].name)
    runs.records.write_text(runs.records.read_text().replace("waving", "nodding"))
    names.add(grid.plan(config).items[0].name)
    monkeypatch.setattr(grid, "weights_of", lambda run, step: Weights("other", "base", "encoder", "encoder"))
    names.add(grid.plan(config).items[0].name)
    assert len(names) == 5


def test_what_cannot_be_read_is_an_item_with_its_reason(runs: RecitingRuns) -> None:
    good, bad = runs.run(), str(runs.folder / "nothing")
    config = runs.config(good, bad, checkpoints=("7", "99"), systems=("personalized", "base"), records=(str(runs.records),) * 2)
    items = grid.plan(config).items
    assert [(item.system, item.step, item.reason is None) for item in items[:3]] == [
        ("personalized", 7, True),
        ("personalized", 99, True),  # the stub of the fingerprints knows no steps
        ("base", None, True),
    ]
    assert "holds no run" in items[-1].reason
