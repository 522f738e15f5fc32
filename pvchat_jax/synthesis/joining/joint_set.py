"""From the training sets of several people to one in which they are seen in every combination, and asked about together."""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.chat_models.replies import ModelUnavailable
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.data.record_files import write_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.asking.questioning import ASK
from pvchat_jax.synthesis.backends import Backends
from pvchat_jax.synthesis.exporting.assembling import CLIPS_FILE, SET_ASIDE_FILE, validate, write_lines
from pvchat_jax.synthesis.exporting.export import ORIGINAL_FOLDER, can_say, record_of, still_record_of, write_original
from pvchat_jax.synthesis.exporting.splitting import SPLITS
from pvchat_jax.synthesis.exporting.stills import STILL, with_still
from pvchat_jax.synthesis.exporting.training_set import UsedClip
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.joining.arranging import ARRANGE, FEWEST_FRAMES
from pvchat_jax.synthesis.joining.asking import ask_about_everybody
from pvchat_jax.synthesis.joining.clips import COPY, JointClip, made_counts, put_together, take_over
from pvchat_jax.synthesis.joining.parts import Part
from pvchat_jax.synthesis.privacy.personal_data import bare
from pvchat_jax.synthesis.record_json import to_json
from pvchat_jax.synthesis.records import SetAside
from pvchat_jax.synthesis.stages import StageStore

VERDICT_FILE = "verdict.json"

Stage = Callable[[str, int], Callable[[], None]]  # as `pipeline.Report.stage`
Asked = tuple[JointClip, UsedClip]  # the latter with the questions about everybody


class JointOutcome(NamedTuple):
    """What there is at the end.

    Attributes:
      files: written records by their names without suffix, such as `train_Wilson`.
      combinations: clips by split and by who is there, the names joined by " and ", or `nobody`.
      problems: what stands in the way of training, one sentence each.
      num_aside: what could not be used.
    """

    files: dict[str, Path]
    combinations: dict[str, dict[str, int]]
    problems: list[str]
    num_aside: int


def join(parts: Sequence[Part], store: StageStore, backends: Backends, config: SynthesisConfig, stage: Stage) -> JointOutcome:
    """Makes the joint set of `parts` in the folder of `store`: all their clips, and `config.num_clips` and `config.num_calibration`
    others that put their people together.

    Raises:
      UserError: the clips are to be too short.
      ModelUnavailable: nothing at all can be asked.
    """
    if config.num_frames < FEWEST_FRAMES:
        raise UserError(f"clips of {config.num_frames} frames cannot show several people; set num_frames to {FEWEST_FRAMES} or more.")
    reader = backends.reader
    aside: list[SetAside] = []
    advance = stage(COPY, sum(len(part.clips) for part in parts))
    clips = list(take_over(parts, store, reader, advance, aside.append))
    advance = stage(ARRANGE, sum(made_counts(config).values()))
    clips += put_together(parts, clips, store, reader, config, advance, aside.append)
    advance = stage(ASK, len(clips))
    asked = []
    for one in clips:
        try:
            asked.append((one, ask_about_everybody(one, store, backends, config.seed, aside.append)))
        except ModelUnavailable:
            raise
        except UserError as error:
            aside.append(SetAside(item=one.clip.name, stage=ASK, reason=str(error)))
        advance()
    advance = stage(STILL, len(asked))
    used = [(one, _used(one, store, questions, reader, advance)) for one, questions in asked]
    return _write(parts, store.folder, used, aside)


def _used(one: JointClip, store: StageStore, questions: tuple[Question, ...], reader: FaceReader, advance: Callable[[], None]) -> UsedClip:
    if one.is_in_turn:  # a still would show one of those whom the questions are about
        advance()
        return UsedClip(clip=one.clip, split=one.split, questions=questions)
    return with_still(store, one.split, one.clip, questions, reader, advance)


def _write(parts: Sequence[Part], folder: Path, used: Sequence[Asked], aside: Sequence[SetAside]) -> JointOutcome:
    names = [part.name for part in parts]
    parents = {digest: video for part in parts for digest, video in part.parents.items()}
    files: dict[str, Path] = {}
    problems: list[str] = []
    for split in (*SPLITS, "stage1"):
        records = {name: _records(split, name, used, parents) for name in names}
        for name, rows in records.items():
            path = folder / f"{split}_{bare(name)}.jsonl"
            if not rows:
                path.unlink(missing_ok=True)
                continue
            write_records(path, rows)
            files[path.stem] = path
            found, _ = validate({split: path}, name)
            problems += found
        _write_original(folder / ORIGINAL_FOLDER / f"{split}.json", folder, records)
    combinations = _combinations(names, used)
    missing = [who for who, count in combinations["train"].items() if not count]
    problems += [f"no training clip shows {who}" for who in missing]
    write_lines(folder / CLIPS_FILE, [{"split": one.split, "roles": dict(one.roles), **to_json(clip.clip)} for one, clip in used])
    write_lines(folder / SET_ASIDE_FILE, [to_json(item) for item in aside])
    verdict = {"is_good": not problems, "problems": problems, "combinations": combinations}
    write_atomically(folder / VERDICT_FILE, json.dumps(verdict, ensure_ascii=False, indent=2) + "\n")
    return JointOutcome(files, combinations, problems, len(aside))


def _records(split: str, name: str, used: Sequence[Asked], parents: Mapping[str, str]) -> list[Record]:
    """What one person's file of a split, or `stage1`, has."""
    rows = []
    for one, clip in used:
        if one.split != ("train" if split == "stage1" else split):
            continue
        questions = tuple(question for question in clip.questions if name in question.question)
        own = dataclasses.replace(clip, clip=dataclasses.replace(clip.clip, role=one.roles[name]), questions=questions)
        parent = "" if one.panels else parents.get(clip.clip.source, "")
        record = still_record_of(own, name) if split == "stage1" else record_of(own, name, parent)
        if record is not None:
            rows.append(record)
    return rows


def _write_original(path: Path, folder: Path, records: Mapping[str, Sequence[Record]]) -> None:
    """The original's file, without what it has no word for."""
    shown: dict[str, set[str]] = {}
    for name, rows in records.items():
        for record in rows:
            shown.setdefault(record.video, set()).update([name] if record.present else [])
    moved = {
        name: [
            dataclasses.replace(record, video=str((folder / record.video).absolute()))
            for record in rows
            if can_say(list(records), shown[record.video])
        ]
        for name, rows in records.items()
    }
    if any(moved.values()):
        write_original(path, moved)
    else:
        path.unlink(missing_ok=True)


def _combinations(names: Sequence[str], used: Sequence[Asked]) -> dict[str, dict[str, int]]:
    counted = Counter((one.split, one.present) for one, _ in used)
    subsets = [frozenset(some) for size in range(len(names) + 1) for some in itertools.combinations(names, size)]
    return {split: {" and ".join(sorted(some)) or "nobody": counted[split, some] for some in subsets} for split in SPLITS}
