"""Two people's sets become one in which both are seen in every combination, which is told right and can be erased."""

import dataclasses
import json
from pathlib import Path

import pytest

from pvchat_jax.data.presence import parse_presence
from pvchat_jax.data.records import load_records
from pvchat_jax.data.validation import check_file
from pvchat_jax.errors import UserError
from pvchat_jax.subjects import main as subjects
from pvchat_jax.synthesis.consent import make_consent, write_consent
from pvchat_jax.synthesis.joining.joint_set import join
from pvchat_jax.synthesis.joining.parts import read_parts
from pvchat_jax.synthesis.personal_data import claim_folder, claim_jointly, find_places
from pvchat_jax.synthesis.pipeline import Job
from pvchat_jax.synthesis.stages import StageStore
from tests.synthesis.fakes import OTHER, STRANGER, SUBJECT, SquareReader, film
from tests.synthesis.worlds import CONFIG, Silent, backends, contents, run

NAMES = ("<Wilson>", "<Ada>")
SMALL = dataclasses.replace(CONFIG, num_clips=8, num_calibration=4, num_filmed=1, test_share=0.0)


def make_set(folder: Path, name: str, colour: tuple[int, ...], *others: tuple[int, ...]) -> Path:
    out = folder / "data" / name[1:-1]
    video = film(folder / f"{name[1:-1]}.mp4", colour)
    for number, other in enumerate(others):
        film(folder / f"corpus{name[1:-1]}" / f"{number}.mp4", other, grey=110)
    config = dataclasses.replace(SMALL, corpus=str(folder / f"corpus{name[1:-1]}"))
    claim_folder(out, name, video)
    write_consent(out, make_consent(name, "2026-12-31", ["train"], date="2026-01-01"))
    run(Job(subject=name, video=video, tests=(film(folder / f"{name[1:-1]}-later.mp4", colour, grey=140),), config=config), out)
    return out


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """The folder of everything, and what came of joining; somebody in the first set's corpus is the second set's person."""
    folder = tmp_path_factory.mktemp("joined")
    sets = [make_set(folder, NAMES[0], SUBJECT, OTHER, STRANGER), make_set(folder, NAMES[1], OTHER, (200, 200, 40))]
    parts = read_parts(sets, SquareReader())
    claim_jointly(folder / "data" / "both", NAMES)
    return folder, parts, join(parts, StageStore(folder / "data" / "both"), backends()[0], SMALL, Silent().stage)


def test_every_combination_occurs_and_each_file_is_valid(joined):
    folder, _, outcome = joined
    assert not outcome.problems
    assert set(outcome.combinations["train"]) == {"nobody", "<Wilson>", "<Ada>", "<Ada> and <Wilson>"}
    assert min(outcome.combinations["train"].values()) >= 2 and outcome.combinations["calibration"]["<Ada> and <Wilson>"]
    assert {f"{split}_{name}" for split in ("train", "calibration", "stage1", "test") for name in ("Wilson", "Ada")} == set(outcome.files)
    for stem, path in outcome.files.items():
        assert not check_file(path, f"<{stem.partition('_')[2]}>").problems
    for name in NAMES:
        load_records(folder / "data/both/original_json/train.json", name)
        assert {record.origin for record in load_records(outcome.files[f"test_{name[1:-1]}"], name)} <= {"real", "retrieved"}


def test_who_is_there_is_what_the_pictures_show_and_what_is_said_of_both(joined):
    _, _, outcome = joined
    by_name = {name: load_records(outcome.files[f"train_{name[1:-1]}"], name) for name in NAMES}
    there: dict[str, set[str]] = {}
    for name, records in by_name.items():
        for record in records:
            there.setdefault(record.video, set()).update([name] if record.present else [])
    for records in by_name.values():
        assert [record.video for record in records] == [record.video for record in by_name[NAMES[0]]]
        for record in records:
            joint = [question for question in record.questions if all(other in question.question for other in NAMES)]
            assert len(joint) == 5
            for question in joint:
                for other in NAMES:
                    expected = "present" if other in there[record.video] else "absent"
                    assert parse_presence(question.answer, other) == expected
    # the person whom the first set has as a stranger is recognised there
    assert any("Wilson-train" in video and there[video] == {"<Ada>"} for video in there)


def test_all_combinations_look_alike(joined):
    """Everybody is put beside everybody: the way a clip was made tells nothing."""
    folder, _, _ = joined
    rows = [json.loads(line) for line in (folder / "data/both/clips.jsonl").read_text().splitlines()]
    made = [row for row in rows if row["tool"] == "beside/1" and row["split"] == "train"]
    combinations = {tuple(sorted(row["settings"]["present"])) for row in made}
    assert len(combinations) == 4 and all(len(row["settings"]["panels"]) == 2 for row in made)
    assert {row["split"] for row in rows if row["tool"] == "beside/1"} == {"train", "calibration"}


def test_a_second_run_writes_the_same(joined):
    folder, parts, _ = joined
    before = contents(folder / "data/both")
    store = StageStore(folder / "data/both")
    join(parts, store, backends()[0], SMALL, Silent().stage)
    assert contents(folder / "data/both") == before
    assert not sum(tally.made for tally in store.tallies.values())


def test_it_is_everybodys_and_goes_with_any_of_them(joined):
    folder, _, _ = joined
    kinds = [(place.name, place.kind) for place in find_places([folder / "data"])]
    assert {("<Ada>", "joint set"), ("<Wilson>", "joint set")} <= set(kinds)
    with pytest.raises(UserError, match="joint set of"):
        claim_jointly(folder / "data/both", ["<Bo>", "<Ada>"])
    subjects(["forget", "Ada", f"--root={folder}/data", f"--receipts={folder}/receipts", "--yes"])
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["Wilson"]


@pytest.mark.parametrize(
    ("sets", "message"), [(["Wilson"], "two to 3 different"), (["Wilson", "Wilson"], "different"), (["no"], "no finished")]
)
def test_sets_that_cannot_be_joined_are_one_sentence(joined, sets, message):
    folder, _, _ = joined
    with pytest.raises(UserError, match=message):
        read_parts([folder / "data" / name for name in sets], SquareReader())
