"""Finds everything that is wrong with a file of records before training finds the first of it."""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.json_fields import Problem
from pvchat_jax.data.presence_cues import denies_presence
from pvchat_jax.data.record_files import parse_file
from pvchat_jax.data.records import LABELS, Record
from pvchat_jax.data.tokenizer import load_tokenizer
from pvchat_jax.errors import UserError

MAX_IMBALANCE = 5.0  # videos of the commoner label per video of the rarer one; the original's own data has 21


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `check_file` found.

    Attributes:
      records: those that could be read, `video` absolute.
      problems: what must be mended before training.
      warnings: what trains, but badly.
    """

    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check_file(path: Path, subject: str | None = None, tokenizer: str | None = None) -> Findings:
    """Checks a file that `load_records` reads.

    Args:
      path: the `.jsonl` or `.json` file.
      subject: the name that every record must be about; None takes the first that the file states.
      tokenizer: directory for `load_tokenizer`, to check name and texts with it; None leaves that out.

    Raises:
      UserError: the file itself cannot be read.
    """
    path = Path(path)
    located, reading = parse_file(path, subject)
    entries = [_Entry(str(path), place, record) for place, record in located]
    records = [entry.record for entry in entries]
    problems, warnings = list(reading), []
    digests = _file_digests(records)
    for entry in entries:
        problems += _check_video(entry, digests.get(entry.record.video))
        problems += _check_texts(entry)
    problems += _find_repeated_videos(entries)
    for problem, is_fatal in _find_equal_contents(entries, digests):
        (problems if is_fatal else warnings).append(problem)
    if tokenizer is not None and records:
        problems += _check_tokens(entries, tokenizer)
    warnings += [Problem(file=str(path), record="", field="", message=message) for message in _find_imbalances(records)]
    return Findings(tuple(records), tuple(problems), tuple(warnings))


def count_questions(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Number of questions by type, then by label; every type and label has an entry."""
    counts = {name: dict.fromkeys(LABELS, 0) for name in QUESTION_TYPES}
    for record in records:
        for question in record.questions:
            counts[question.type][record.label] += 1
    return counts


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A record and where it stands."""

    file: str
    place: str
    record: Record

    def problem(self, field: str, message: str) -> Problem:
        return Problem(file=self.file, record=f"{self.place} ({self.record.video})", field=field, message=message)


def _file_digests(records: list[Record]) -> dict[str, str]:
    """sha256 by path, of the files whose digest is stated or whose size another file shares: only those can matter."""
    readable = {record.video for record in records if os.path.isfile(record.video) and os.access(record.video, os.R_OK)}
    sizes = {path: os.path.getsize(path) for path in readable}
    shared = collections.Counter(sizes.values())
    stated = {record.video for record in records if record.sha256}
    return {path: _digest(path) for path, size in sizes.items() if path in stated or shared[size] > 1}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_video(entry: _Entry, digest: str | None) -> Iterator[Problem]:
    record = entry.record
    if not os.path.isfile(record.video):
        message = "does not exist; correct the path (relative paths start at the file's own folder) or remove the record"
        yield entry.problem("video", message)
    elif not os.access(record.video, os.R_OK):
        yield entry.problem("video", "may not be read; change its permissions")
    elif os.path.getsize(record.video) == 0:
        yield entry.problem("video", "is an empty file; copy the video again or remove the record")
    elif record.sha256 and digest != record.sha256:
        message = f"is {record.sha256[:12]}... but the file has {digest[:12]}...; restore the file or write its new digest"
        yield entry.problem("sha256", message)


def _check_texts(entry: _Entry) -> Iterator[Problem]:
    record = entry.record
    if not any(record.subject in question.question for question in record.questions):
        message = f"never mention '{record.subject}', so its token has nothing to be tied to; write the name into them"
        yield entry.problem("questions", message)
    for index, question in enumerate(record.questions):
        field, quoted = f"questions[{index}].answer", repr(question.answer[:80])
        # A sentence about several people says different things of each, so only plain ones are judged.
        others = "<" in question.answer.replace(record.subject, "")
        denies = denies_presence(question.answer, record.subject)
        if question.type == "existence" and not others and denies == record.present:
            yield entry.problem(field, f"{quoted} contradicts the label '{record.label}'; correct the answer or the role")
        elif question.type != "existence" and not record.present and not denies:
            message = f"{quoted} describes a subject who is absent; answer that {record.subject} is not in the video"
            yield entry.problem(field, message)


def _find_repeated_videos(entries: list[_Entry]) -> Iterator[Problem]:
    first: dict[str, _Entry] = {}
    for entry in entries:
        earlier = first.setdefault(os.path.normpath(entry.record.video), entry)
        if earlier is not entry:
            yield entry.problem("video", f"is also that of {earlier.place}; merge their questions into one record")


def _find_equal_contents(entries: list[_Entry], digests: dict[str, str]) -> Iterator[tuple[Problem, bool]]:
    """Different paths with the same bytes; fatal where their labels differ."""
    first: dict[str, _Entry] = {}
    for entry in entries:
        record = entry.record
        digest = digests.get(record.video, record.sha256)
        if digest is None:
            continue
        earlier = first.setdefault(digest, entry)
        if record.present != earlier.record.present:
            message = (
                f"is also that of {earlier.place}, which is labelled '{earlier.record.label}' and this one '{record.label}'; correct one"
            )
            yield entry.problem("sha256", message), True
        elif os.path.normpath(record.video) != os.path.normpath(earlier.record.video):
            yield entry.problem("sha256", f"is also that of {earlier.place}; a copy adds nothing, so remove one of the two"), False


def _check_tokens(entries: list[_Entry], directory: str) -> Iterator[Problem]:
    subject = entries[0].record.subject
    try:
        tokenizer = load_tokenizer(directory, [subject])
    except UserError as error:
        yield Problem(file=entries[0].file, record="", field="subject", message=str(error))
        return
    for entry in entries:
        for index, question in enumerate(entry.record.questions):
            for field in ("question", "answer"):
                try:
                    tokenizer.encode_plain(getattr(question, field))
                except UserError as error:
                    yield entry.problem(f"questions[{index}].{field}", str(error))


def _find_imbalances(records: list[Record]) -> Iterator[str]:
    if not records:
        return
    videos = collections.Counter(record.label for record in records)
    for label in LABELS:
        if not videos[label]:
            yield f"no video is labelled '{label}', so the model can learn to give one answer to everything; add some"
    if len(videos) == len(LABELS) and max(videos.values()) > MAX_IMBALANCE * min(videos.values()):
        present, absent = (videos[label] for label in LABELS)
        yield f"{present} videos show the subject and {absent} do not, more than {MAX_IMBALANCE:g} to 1; add videos of the rarer kind"
    questions = count_questions(records)
    for name, by_label in questions.items():
        if not any(by_label.values()):
            yield f"no question has the type '{name}'; the model will not learn to answer such questions"
        for label in LABELS:
            if videos[label] and any(by_label.values()) and not by_label[label]:
                yield f"no '{name}' question is asked of a video labelled '{label}'; add some, with the answers that fit"
