"""What is in the files of clips that are made of cut-out people, and what is asked about them."""

import collections
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pvchat_jax.data.record_files import load_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.personalisation import composited_clips
from pvchat_jax.personalisation.clip_parts import Part, read_part, write_part
from pvchat_jax.personalisation.clip_plans import Composition
from pvchat_jax.personalisation.composited_clips import REJECTED_FILE, Watch, _make_checked, composite_clips
from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.synthesis.generators.compositor import Cast
from pvchat_jax.synthesis.generators.generator import MadeClip
from pvchat_jax.world.plan import SUBJECT
from tests.personalisation import drawn_people

pytest.importorskip("cv2")
SETTINGS = {"name": "<Ann>", "numbers": {"train": 20}, "num_frames": 4, "seed": 1, "progress": lambda done, total: None}


class SeenSomebody(NamedTuple):
    embedding: np.ndarray


def seeing(subject: CutPerson, similarity: float) -> Watch:
    """Sees one person in each clip, as alike to the subject as is said."""
    return lambda clips: [[SeenSomebody(similarity * subject.embedding)] for _ in clips]


@pytest.fixture(scope="module")
def people() -> list[CutPerson]:
    return drawn_people.people()


def test_clips_are_written_with_questions_that_their_sources_answer(people: list[CutPerson], tmp_path: Path) -> None:
    folders = (tmp_path / "first", tmp_path / "second")
    made = [composite_clips(folder, people[0], people[1:], watch=seeing(people[0], 0.92), **SETTINGS)["train"] for folder in folders]
    first, second = (load_records(path, "<Ann>") for path in made)
    assert [record.sha256 for record in first] == [record.sha256 for record in second]
    assert collections.Counter(record.role for record in first) == {"positive": 10, "hard_negative": 8, "easy_negative": 2}
    worn = {one.member.key: one.known.truth["outfit"] for one in people}
    for record in first:
        assert record.origin == "composited" and Path(record.video).is_file()
        if record.present:
            appearance = next(question.answer for question in record.questions if question.type == "appearance")
            assert worn[record.truth["clothes"]]["colour"] in appearance and worn[record.truth["body"]]["garment"] in appearance


def test_clips_in_which_the_subject_is_not_seen_are_left_out_and_listed(people: list[CutPerson], tmp_path: Path) -> None:
    path = composite_clips(tmp_path, people[0], people[1:], watch=seeing(people[0], 0.5), **SETTINGS)["train"]
    assert collections.Counter(record.role for record in load_records(path, "<Ann>")) == {"hard_negative": 8, "easy_negative": 2}
    [rejected] = json.loads((tmp_path / REJECTED_FILE).read_text(encoding="utf-8")).values()
    assert rejected == {f"train_{number:06d}": 0.5 for number in range(0, 20, 2)}


def test_a_clip_that_does_not_show_whom_it_should_is_made_again(people: list[CutPerson]) -> None:
    subject = people[0]
    plans = [
        Composition("train", index, grade, Cast(subject.member, 10 * index), subject, None) for index, grade in enumerate((SUBJECT, 1, 2))
    ]
    wrong = {0: 0.88, 1: 0.7, 10: 0.96, 11: 0.97, 12: 0.98, 20: 0.3}  # by seed; a third try is the last one
    seeds: list[int] = []

    def make(todo: Sequence[Composition]) -> list[MadeClip]:
        seeds.extend(plan.cast.seed for plan in todo)
        return [MadeClip(np.full((1, 1, 1, 3), plan.cast.seed, np.uint8), {}) for plan in todo]

    def watch(clips: Sequence[np.ndarray]) -> list[list[SeenSomebody]]:
        return [[SeenSomebody(wrong.get(int(clip.max()), 0.93) * subject.embedding)] for clip in clips]

    checked = _make_checked(plans, make, watch, subject.embedding)
    assert seeds == [0, 10, 20, 1, 11, 2, 12]
    assert [clip.is_good for clip in checked] == [True, False, True] and checked[0].plan.cast.seed == 2
    nobody = _make_checked(plans[1:2], make, lambda clips: [[] for _ in clips], subject.embedding)
    assert not nobody[0].is_good


def test_a_stopped_run_goes_on_and_another_set_does_not_get_its_clips(people: list[CutPerson], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(composited_clips, "_AT_A_TIME", 8)
    whole = composite_clips(tmp_path / "whole", people[0], people[1:], watch=seeing(people[0], 0.92), **SETTINGS)["train"]
    watched: list[int] = []

    def watch(clips: Sequence[np.ndarray]) -> list[list[SeenSomebody]]:
        watched.append(len(clips))
        if len(watched) == 2:
            raise KeyboardInterrupt
        return seeing(people[0], 0.92)(clips)

    with pytest.raises(KeyboardInterrupt):
        composite_clips(tmp_path / "cut", people[0], people[1:], watch=watch, **SETTINGS)
    path = composite_clips(tmp_path / "cut", people[0], people[1:], watch=watch, **SETTINGS)["train"]
    assert watched == [8, 8, 8, 4] and path.read_text(encoding="utf-8") == whole.read_text(encoding="utf-8")
    assert not list(tmp_path.glob("cut/parts"))
    watched.clear()
    with pytest.raises(KeyboardInterrupt):
        composite_clips(tmp_path / "cut", people[0], people[1:], watch=watch, **SETTINGS)
    other = composite_clips(tmp_path / "cut", people[0], people[1:], watch=seeing(people[0], 0.92), **SETTINGS | {"seed": 2})["train"]
    assert not {r.sha256 for r in load_records(other, "<Ann>")} & {r.sha256 for r in load_records(whole, "<Ann>")}


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "000000.json"
    questions = (Question(question="Is <Ann> there?", answer="Yes.", type="existence"),)
    record = Record(video="videos/a.mp4", subject="<Ann>", role="positive", origin="composited", questions=questions)
    write_part(path, "these", Part([record], {"train_000001": 0.5}))
    assert read_part(path, "these") == Part([record], {"train_000001": 0.5}) and read_part(path, "others") is None
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    assert read_part(path, "these") is None and read_part(tmp_path / "none.json", "these") is None
