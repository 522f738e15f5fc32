"""Writes the training set: our JSON Lines, and the JSON layouts of the original project, which `data.reference_json` reads."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from pvchat_jax.data.record_files import write_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.exporting.splitting import SPLITS
from pvchat_jax.synthesis.exporting.training_set import TrainingSet, UsedClip

ORIGINAL_FOLDER = "original_json"
STAGE1_TYPES = ("existence", "appearance")  # what a single frame can answer
# Names of a file's videos that show these people, by number of people; the layout has no name for the first and the third alone.
_SAMPLE_TYPES: dict[int, dict[frozenset[int], str]] = {
    2: {frozenset(): "random", frozenset({1}): "person1", frozenset({2}): "person2", frozenset({1, 2}): "both"},
    3: {
        frozenset(): "random",
        frozenset({1}): "person1",
        frozenset({2}): "person2",
        frozenset({3}): "person3",
        frozenset({1, 2}): "both",
        frozenset({1, 2, 3}): "three",
    },
}


def record_of(used: UsedClip, subject: str, parent: str) -> Record:
    """A clip as a record; `parent` is the name of the filmed video that it was made from, and not stated of the filmed itself."""
    clip = used.clip
    return Record(
        video=clip.video,
        subject=subject,
        role=clip.role,
        origin=clip.origin,
        parent=parent or None,
        sha256=clip.sha256,
        questions=used.questions,
        truth=clip.truth,
    )


def still_record_of(used: UsedClip, subject: str) -> Record | None:
    """The best frame of a clip as a record of stage 1; None where there is none, or no question that a single frame can answer."""
    questions = tuple(question for question in used.questions if question.type in STAGE1_TYPES)
    if not used.still or not questions:
        return None
    clip = used.clip
    return Record(
        video=used.still,
        subject=subject,
        role=clip.role,
        origin=clip.origin,
        parent=clip.video,
        sha256=used.still_sha256,
        questions=questions,
        truth=clip.truth,
    )


def export(folder: Path, made: TrainingSet, parents: Mapping[str, str]) -> dict[str, Path]:
    """Writes the files of the set into `folder`.

    Args:
      parents: file names of filmed videos, by digest.

    Returns:
      The written JSON Lines files by split, and `stage1`; a split without clips has none, and no file of an earlier run either.
    """
    records = {split: [record_of(used, made.subject, _parent(used, parents)) for used in made.of(split)] for split in SPLITS}
    stills = [record for used in made.of("train") if (record := still_record_of(used, made.subject)) is not None]
    written: dict[str, Path] = {}
    for name, rows in {**records, "stage1": stills}.items():
        path, original = folder / f"{name}.jsonl", folder / ORIGINAL_FOLDER / f"{name}.json"
        if not rows:
            path.unlink(missing_ok=True)
            original.unlink(missing_ok=True)
            continue
        write_records(path, rows)
        write_original(original, {made.subject: [_moved(record, folder) for record in rows]})
        written[name] = path
    return written


def _parent(used: UsedClip, parents: Mapping[str, str]) -> str:
    return parents.get(used.clip.source, "")


def _moved(record: Record, folder: Path) -> Record:
    """With the absolute path that the original's files have."""
    return dataclasses.replace(record, video=str((folder / record.video).absolute()))


def write_original(path: Path, by_subject: Mapping[str, Sequence[Record]]) -> None:
    """Writes a JSON file in the original project's layout for one, two or three people.

    Args:
      path: of the `.json` file.
      by_subject: records by name, the first person first. Records of several people about one video are put together.

    Raises:
      UserError: there are more people than the layout has places for, or a video shows a combination of them that it cannot say.
    """
    names = list(by_subject)
    if not 1 <= len(names) <= 3:
        raise UserError(f"{path} cannot hold {len(names)} people; the original's layout has places for one to three.")
    videos: dict[str, dict[str, Record]] = {}
    for name, records in by_subject.items():
        for record in records:
            videos.setdefault(record.video, {})[name] = record
    rows = [_video(path, names, video, records) for video, records in videos.items()]
    write_atomically(path, json.dumps({"videos": rows}, ensure_ascii=False, indent=2) + "\n")


def can_say(names: Sequence[str], present: Collection[str]) -> bool:
    """Whether the original's layout for the people `names`, the first person first, has a word for those who are `present`."""
    numbers = frozenset(number for number, name in enumerate(names, start=1) if name in present)
    return len(names) == 1 or numbers in _SAMPLE_TYPES.get(len(names), {})


def _video(path: Path, names: Sequence[str], video: str, records: Mapping[str, Record]) -> dict[str, Any]:
    present = frozenset(number for number, name in enumerate(names, start=1) if name in records and records[name].present)
    row: dict[str, Any] = {"video_name": PurePath(video).name, "video_path": video, "sks_present": names[0]}
    if len(names) > 1:
        if present not in _SAMPLE_TYPES[len(names)]:
            shown = " and ".join(names[number - 1] for number in sorted(present))
            raise UserError(
                f"{path} cannot say that {video} shows {shown} alone, which the original's layout has no word for; leave it out."
            )
        row["sample_type"] = _SAMPLE_TYPES[len(names)][present]
        row |= {f"sks_present{number}": name for number, name in enumerate(names, start=1)}
        row |= {f"{field}{number}": "" for number in range(2, len(names) + 1) for field in ("gender", "age")}
    row |= {"gender": "", "age": "", "is_positive": bool(present)}
    parent = next((record.parent for record in records.values() if record.parent), None)
    if parent:
        row["ori_video_name"] = PurePath(parent).name
    # what is asked about all at once stands in the records of each
    row["qa_pairs"] = [_pair(question) for question in dict.fromkeys(item for record in records.values() for item in record.questions)]
    return row


def _pair(question: Question) -> dict[str, Any]:
    return {"question": question.question, "answer": question.answer, "is_special": question.type == "existence"}
