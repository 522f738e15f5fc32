"""Sets of two or three people become one in which all are seen in every combination, which is told right and can be erased."""

import dataclasses
import datetime
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.data.presence import parse_presence
from pvchat_jax.data.record_files import load_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.validation import check_file
from pvchat_jax.data.video import read_frames_at
from pvchat_jax.errors import UserError
from pvchat_jax.join import main
from pvchat_jax.subjects import main as subjects
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.joining.joint_set import join as join_parts
from pvchat_jax.synthesis.joining.parts import read_parts
from pvchat_jax.synthesis.pipeline import Job
from pvchat_jax.synthesis.privacy.consent import make_consent, write_consent
from pvchat_jax.synthesis.privacy.personal_data import claim_folder, claim_jointly, find_places
from tests.synthesis.fakes import OTHER, STRANGER, SUBJECT, SceneCaptioner, SquareReader, film
from tests.synthesis.worlds import CONFIG, backends, contents, run

NAMES = ("<Wilson>", "<Ada>")
THREE = (*NAMES, "<Bo>")
SMALL = dataclasses.replace(CONFIG, num_clips=8, num_calibration=4, num_filmed=1, test_share=0.0)


def make_set(folder: Path, name: str, colour: tuple[int, ...], *others: tuple[int, ...]) -> Path:
    out = folder / "data" / name[1:-1]
    video = film(folder / f"{name[1:-1]}.mp4", colour)
    for number, other in enumerate(others):
        film(folder / f"corpus{name[1:-1]}" / f"{number}.mp4", other, grey=110)
    config = dataclasses.replace(SMALL, corpus=str(folder / f"corpus{name[1:-1]}"))
    claim_folder(out, name, video)
    today = datetime.date.today()
    write_consent(out, make_consent(name, str(today + datetime.timedelta(days=9)), ["train"], date=str(today)))
    run(Job(subject=name, video=video, tests=(film(folder / f"{name[1:-1]}-later.mp4", colour, grey=140),), config=config), out)
    return out


def join(folder: Path, names: tuple[str, ...] = NAMES, out: str = "both") -> None:
    """The command, with stand-ins for the backends."""
    sizes = [f"--config.{name}={getattr(SMALL, name)}" for name in ("num_clips", "num_calibration", "num_frames", "width", "height")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pvchat_jax.join.choose_backends", lambda config, cast, out: backends()[0])
        main([*(str(folder / "data" / name[1:-1]) for name in names), f"--out={folder / 'data' / out}", *sizes])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where everything is; somebody in the first set's corpus is the second set's person."""
    folder = tmp_path_factory.mktemp("joined")
    make_set(folder, NAMES[0], SUBJECT, OTHER, STRANGER)
    make_set(folder, NAMES[1], OTHER, (200, 200, 40))
    join(folder)
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    """A joint set of three people, whose faces are wider than a third of the picture."""
    folder = tmp_path_factory.mktemp("three")
    for name, *colours in zip(THREE, (SUBJECT, OTHER, (200, 40, 200)), (STRANGER, (200, 200, 40), STRANGER), strict=True):
        make_set(folder, name, *colours)
    join(folder, THREE, "all")
    return folder / "data" / "all"


def records_of(folder: Path, split: str) -> dict[str, list[Record]]:
    """By name, of the joint set."""
    return {name: load_records(folder / "data" / "both" / f"{split}_{name[1:-1]}.jsonl", name) for name in NAMES}


def test_every_combination_occurs_and_each_file_is_valid(folder):
    out = folder / "data" / "both"
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["is_good"]
    combinations = verdict["combinations"]
    assert set(combinations["train"]) == {"nobody", "<Wilson>", "<Ada>", "<Ada> and <Wilson>"}
    assert min(combinations["train"].values()) >= 2 and combinations["calibration"]["<Ada> and <Wilson>"]
    for split in ("train", "calibration", "stage1", "test"):
        for name in NAMES:
            assert not check_file(out / f"{split}_{name[1:-1]}.jsonl", name).problems
            load_records(out / "original_json" / f"{split}.json", name)
    assert {record.origin for records in records_of(folder, "test").values() for record in records} <= {"real", "retrieved"}


def test_who_is_there_is_what_the_pictures_show_and_what_is_said_of_both(folder):
    by_name = records_of(folder, "train")
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


def test_all_combinations_look_alike(folder):
    """Everybody is put beside everybody: the way a clip was made tells nothing."""
    rows = [json.loads(line) for line in (folder / "data/both/clips.jsonl").read_text().splitlines()]
    made = [row for row in rows if row["tool"] == "beside/1" and row["split"] == "train"]
    combinations = {tuple(sorted(row["settings"]["present"])) for row in made}
    assert len(combinations) == 4 and all(len(row["settings"]["panels"]) == 2 for row in made)
    assert {row["split"] for row in rows if row["tool"] == "beside/1"} == {"train", "calibration"}


def test_three_people_are_seen_one_after_the_other_in_every_combination(three):
    verdict = json.loads((three / "verdict.json").read_text())
    assert verdict["is_good"] and len(verdict["combinations"]["train"]) == 8
    made = [row for row in map(json.loads, (three / "clips.jsonl").read_text().splitlines()) if row["tool"] == "in_turn/1"]
    assert all(len(set(row["settings"]["panels"])) == 3 for row in made)  # nobody stands for two
    assert {frozenset(row["settings"]["present"]) for row in made if row["split"] == "train"} == {
        frozenset(some) for size in range(4) for some in itertools.combinations(THREE, size)
    }
    reader = SquareReader()
    people = {part.name: part.embedding for part in read_parts([three.parent / name[1:-1] for name in THREE], reader)}
    for row in made:
        frames = read_frames_at(three / row["video"], np.array([0, 4, 7]))  # of eight, one of each shot
        seen = [name for (face,) in reader.read(list(frames)) for name, own in people.items() if face.embedding @ own >= reader.same_person]
        assert sorted(seen) == sorted(row["settings"]["present"])
        assert frames.shape[2] == SMALL.width  # nobody was cropped


def test_no_still_stands_for_people_who_are_seen_one_after_the_other(three):
    for name in THREE:
        videos = {record.video for record in load_records(three / f"stage1_{name[1:-1]}.jsonl", name)}
        assert videos and not [video for video in videos if "in_turn" in video]
        assert any("in_turn" in record.video for record in load_records(three / f"train_{name[1:-1]}.jsonl", name))


def test_captioners_see_the_shot_of_the_person_they_are_asked_about(three, monkeypatch):
    """Asked anew; what is said of each shows whose frames were looked at."""
    reader, asked = SquareReader(), []

    def answer(self: SceneCaptioner, view: ClipView, questions: Sequence[Question]) -> list[str]:
        asked.append({tuple(np.sign(face.embedding)) for faces in reader.read(list(view.frames)) for face in faces})
        return ["The person stands."] * len(questions)

    monkeypatch.setattr(SceneCaptioner, "answer", answer)
    monkeypatch.setattr(SceneCaptioner, "name", "another")
    join(three.parent.parent, THREE, "all")
    assert asked and all(len(people) == 1 for people in asked)


def test_clips_too_short_for_several_people_are_one_sentence():
    with pytest.raises(UserError, match="set num_frames to 4"):
        join_parts([], None, None, dataclasses.replace(SMALL, num_frames=3), None)


def test_a_second_run_makes_nothing_and_writes_the_same(folder, monkeypatch):
    before = contents(folder / "data/both")
    monkeypatch.setattr(SquareReader, "read", None)
    join(folder)
    assert contents(folder / "data/both") == before


def test_it_is_everybodys_and_goes_with_any_of_them(folder):
    kinds = [(place.name, place.kind) for place in find_places([folder / "data"])]
    assert {("<Ada>", "joint set"), ("<Wilson>", "joint set")} <= set(kinds)
    with pytest.raises(UserError, match="joint set of"):
        claim_jointly(folder / "data/both", ["<Bo>", "<Ada>"])
    run_of_wilson = folder / "data" / "run" / "config.json"
    run_of_wilson.parent.mkdir()
    values = {"subject": "<Wilson>", "train": str(folder / "data" / "both" / "train_Wilson.jsonl")}
    run_of_wilson.write_text(json.dumps({"data": values}))
    subjects(["forget", "Ada", f"--root={folder}/data", f"--receipts={folder}/receipts", "--yes"])
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["Wilson"]


@pytest.mark.parametrize(
    ("sets", "message"), [(["Wilson"], "two to 3 different"), (["Wilson", "Wilson"], "different"), (["no"], "no finished")]
)
def test_sets_that_cannot_be_joined_are_one_sentence(folder, sets, message):
    with pytest.raises(UserError, match=message):
        read_parts([folder / "data" / name for name in sets], SquareReader())
