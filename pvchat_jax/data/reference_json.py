"""Reads every JSON layout of the original project into records.

| layout | label of a video |
|---|---|
| one person, `{"data": []}` or `{"videos": []}` | `is_positive` |
| two or three people | `sample_type`, with `sks_present1..3` saying who is which |
| `qa_dataset*.json` | present iff `sks_present` is the subject's name without angle brackets |
| result files, `{"results": []}` | `is_positive`, or, as it was dropped, what most gold existence answers say |

Questions about several people make a result file one of several people, where only the answers tell who is present.
"""

import dataclasses
import re
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pvchat_jax.data.json_fields import ObjectReader, Problem, parse_json, suggestion
from pvchat_jax.data.presence_cues import denies_presence
from pvchat_jax.data.records import Question, Record

_LISTS = ("data", "videos", "results")
_MEMBERS = {"person1": (1,), "person2": (2,), "person3": (3,), "both": (1, 2), "three": (1, 2, 3), "random": ()}
_SAMPLE_TYPES = ("single", *_MEMBERS)
_STEM_WORDS = {"train", "test", "all", "video", "updated", "short"}
_ORIGIN_FOLDERS = {"consisid_generation": "t2v", "photomaker": "t2v", "5_movie_video": "animated", "similar_image": "retrieved"}
_ORIGIN_FOLDER = re.compile(rf"({'|'.join(_ORIGIN_FOLDERS)})[23]?")
_STAGE1_STEM = re.compile(rf".*_{_ORIGIN_FOLDER.pattern}_.*_short_video")

# In this order: "describe the movements" is about action and "which part does X appear in" about location.
_TYPE_CUES = (
    ("appearance", r"wear|outfit|cloth|attire|dress|(?<!an )\bappearance|\blooks? like|features|hair|\bfac(?:e|ial)\b"),
    ("location", r"\bwhere\b|position|(?<!you )\blocat(?:ion|ed)\b|relative to|which part|whereabouts|situated|next to|\bstanding near\b"),
    ("action", r"activit|\bdoing\b|\bactions?\b|\bact(?:s|ing)?\b|movement|\bmov(?:e|es|ing)\b|behavio|perform|gestur|engaged"),
    ("appearance", r"would you describe"),
)
_OPEN_QUESTION = re.compile(r"\W*(?:what|which|how|where|who|why|when|describe|tell|explain|list|name)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class _Cast:
    """Who is who in one file: the subject asked for, the number of people, and the file's name for messages."""

    subject: str
    people: int
    file: str


class Result(NamedTuple):
    """A video of a result file, what a model answered to each question of `record`, and where it stands (`results[4]`).

    An answer is None where the file has none.
    """

    place: str
    record: Record
    generated: tuple[str | None, ...]


def parse_reference(text: str, file: str, subject: str | None) -> tuple[list[tuple[str, Record]], list[Problem]]:
    """Parses the text of a file of the original project.

    Args:
      text: the JSON.
      file: its name, for messages, and for the names of people in files written before names were filled in.
      subject: the name to be taught or tested; None takes the first that the file states.

    Returns:
      Records of the videos that have no problem (`video` as written) with their places (`videos[4]`), and all problems.
    """
    parsed, problems = parse_results(text, file, subject)
    return [(place, record) for place, record, _ in parsed], problems


def parse_results(text: str, file: str, subject: str | None) -> tuple[list[Result], list[Problem]]:
    """Like `parse_reference`, with the answers that a result file of the original project, or of its baselines, has."""
    problems: list[Problem] = []
    items = _find_list(text, file, problems)
    if items is None:
        return [], problems
    name, values = items
    readers = [ObjectReader(value, file=file, record=f"{name}[{index}]", problems=problems) for index, value in enumerate(values)]
    readers = [reader for reader in readers if reader.is_object]
    subject = subject or _first_subject(readers)
    if subject is None:
        problems.append(Problem(file=file, record="", field="sks_present", message="names nobody; say which subject is meant"))
        return [], problems
    people = max((_count_people(reader.value, are_results=name == "results") for reader in readers), default=1)
    cast = _Cast(subject, people, file)
    parsed = [result for reader in readers if (result := _parse_video(reader, cast)) is not None]
    if parsed and not problems:
        _check_legacy_subject(readers, cast, problems)
    return parsed, problems


def people_asked_for(text: str) -> list[str]:
    """Names such as `<Aa>` in the questions of a result file, which keeps no other trace of who was taught; in order of appearance."""
    try:
        results = parse_json(text)["results"]
    except (ValueError, KeyError, TypeError):
        return []
    found = [name for value in results if isinstance(value, dict) for name in _people_asked_for(value)] if isinstance(results, list) else []
    return list(dict.fromkeys(found))


def question_type(question: str, is_special: bool | None = None) -> str:
    """One of `config.schema.QUESTION_TYPES` for a question of the original project.

    `is_special` marks existence questions. Where it is missing, a question without any cue of content is
    taken as existence if it can be answered by yes or no. Content questions without a cue count as action.
    """
    if is_special:
        return "existence"
    text = question.lower()
    for name, cues in _TYPE_CUES:
        if re.search(cues, text):
            return name
    return "existence" if is_special is None and not _OPEN_QUESTION.match(question) else "action"


def origin_of(video_path: str) -> str:
    """One of `records.ORIGINS`, from the folder that a step of the original pipeline wrote to."""
    path = PurePosixPath(video_path.replace("\\", "/"))
    match = next(filter(None, map(_ORIGIN_FOLDER.fullmatch, path.parts[:-1])), None)
    match = match or _STAGE1_STEM.fullmatch(path.stem)  # stage-1 clips moved the folder's name into their own
    return _ORIGIN_FOLDERS[match[1]] if match else "real"


def _find_list(text: str, file: str, problems: list[Problem]) -> tuple[str, list[Any]] | None:
    try:
        value = parse_json(text)
    except ValueError as error:
        problems.append(Problem(file=file, record="", field="", message=str(error)))
        return None
    top = ObjectReader(value, file=file, record="", problems=problems)
    if not top.is_object:
        return None
    names = [name for name in _LISTS if name in top.value]
    if len(names) != 1:
        message = f"has the fields {', '.join(map(repr, names))} together; keep one" if names else _no_list_message(top.value)
        problems.append(Problem(file=file, record="", field="", message=message))
        return None
    values = top.get(names[0], list)
    return None if values is None else (names[0], values)


def _no_list_message(value: dict[str, Any]) -> str:
    if "video" in value:
        return "is a record, not a file of the original project; give the file the suffix .jsonl"
    near = next((hint for field in value if (hint := suggestion(field, _LISTS))), "")
    return f"has none of the lists {', '.join(_LISTS)}{near}"


def _bare(name: str) -> str:
    """`Aa` of `<Aa>`; the original's driver script also left quotes around names."""
    return name.strip("'\"").strip("<>")


def _first_subject(readers: list[ObjectReader]) -> str | None:
    for reader in readers:
        for field in ("sks_present1", "sks_present"):
            name = reader.value.get(field)
            if isinstance(name, str) and _bare(name):
                return f"<{_bare(name)}>"
    return None


def _count_people(value: dict[str, Any], *, are_results: bool) -> int:
    """How many people the layout of this video provides for."""
    if value.get("sample_type") in ("person3", "three") or "sks_present3" in value or "gender3" in value:
        return 3
    several = value.get("sample_type") in ("person1", "person2", "both") or "sks_present2" in value or "gender2" in value
    return 2 if several or (are_results and len(_people_asked_for(value)) > 1) else 1


def _people_asked_for(value: dict[str, Any]) -> list[str]:
    """Names in a video's questions; result files have no other trace of who was taught."""
    pairs = value.get("qa_pairs")
    questions = [pair.get("question") for pair in pairs if isinstance(pair, dict)] if isinstance(pairs, list) else []
    return list(dict.fromkeys(name for question in questions if isinstance(question, str) for name in re.findall(r"<\w+>", question)))


def _parse_video(reader: ObjectReader, cast: _Cast) -> Result | None:
    before = len(reader.problems)
    video, parent = reader.path("video_path"), reader.label("ori_video_name")
    is_positive = reader.get("is_positive", bool, required=False)
    sample_type = reader.choice("sample_type", _SAMPLE_TYPES, required=False)
    names = _names(reader, cast, is_needed=sample_type in _MEMBERS)
    pairs = _parse_pairs(reader, _substitutions(names, cast), cast)
    if len(reader.problems) > before:
        return None
    questions = tuple(question for question, _ in pairs)
    legacy = cast.people == 1 and is_positive is None and _states_owner(reader)
    if legacy:
        present = _bare(reader.value["sks_present"]) == _bare(cast.subject)
    elif cast.people > 1 and sample_type in _MEMBERS:
        present = _number(names, cast) in _MEMBERS[sample_type]
    elif cast.people == 1 and is_positive is not None:
        present = is_positive
    else:
        present = _presence_in_answers(reader, questions, cast.subject)
    if cast.people == 1 and not legacy:
        _check_subject(reader, present, cast)
    if len(reader.problems) > before:
        return None
    if legacy and not present:
        questions = tuple(_refused(question, cast.subject) for question in questions)
    role = "positive" if present else "easy_negative"
    record = Record(video=video, subject=cast.subject, role=role, origin=origin_of(video), parent=parent, questions=questions)
    if _MEMBERS.get(sample_type or ""):
        record = dataclasses.replace(record, truth={"people": len(_MEMBERS[sample_type])})
    return Result(reader.record, record, tuple(generated for _, generated in pairs))


def _states_owner(reader: ObjectReader) -> bool:
    """Whether `sks_present` is the bare name of whoever is in the video, as only `qa_dataset*.json` has it."""
    name = reader.value.get("sks_present") or ""
    return bool(name) and _bare(name) == name


def _names(reader: ObjectReader, cast: _Cast, *, is_needed: bool) -> dict[int, str]:
    """People by number, `<>` and quotes removed. Person 1 stands in `sks_present1` or, as trainers read it, `sks_present`.

    Complains that the subject is not among them only if `is_needed`: without a `sample_type`, numbers say nothing.
    """
    first = reader.label("sks_present")
    if cast.people == 1:
        return {1: _bare(cast.subject)}
    stated = {number: reader.label(f"sks_present{number}") for number in range(1, cast.people + 1)}
    if first and stated[1] and _bare(first) != _bare(stated[1]):
        reader.complain("sks_present1", f"is '{stated[1]}' but sks_present is '{first}'; correct one of them")
    stated[1] = stated[1] or first
    names = {number: _bare(name) for number, name in stated.items() if name}
    if not names:  # written before names were filled in; they are in the file's name alone
        parts = [part for part in Path(cast.file).stem.split("_") if part not in _STEM_WORDS]
        names = dict(enumerate(map(_bare, parts), start=1)) if len(parts) == cast.people else {}
    if is_needed and _bare(cast.subject) not in names.values():
        known = ", ".join(f"'<{name}>'" for name in names.values()) or "nobody"
        near = suggestion(cast.subject, [f"<{name}>" for name in names.values()])
        reader.complain("sks_present1", f"and the others name {known} while '{cast.subject}' was asked for; correct one of them{near}")
    return names


def _number(names: dict[int, str], cast: _Cast) -> int:
    return next(number for number, name in names.items() if name == _bare(cast.subject))


def _substitutions(names: dict[int, str], cast: _Cast) -> dict[str, str]:
    """What to write for the placeholders of files from before step 11, and for names in left-over quotes."""
    result = {"<sks>": cast.subject, f"'{cast.subject}'": cast.subject}
    if cast.people > 1:
        result |= {f"<sks{number}>": cast.subject if name == _bare(cast.subject) else f"<{name}>" for number, name in names.items()}
    return result


def _parse_pairs(reader: ObjectReader, substitutions: dict[str, str], cast: _Cast) -> list[tuple[Question, str | None]]:
    """Questions about the subject, each with what a model answered if the file says that."""
    items = reader.get("qa_pairs", list)
    if items == []:
        reader.complain("qa_pairs", "is empty; a video without questions trains nothing, so add one or remove the video")
    questions = []
    for index, item in enumerate(items or ()):
        child = reader.child(item, f"qa_pairs[{index}]")
        if not child.is_object:
            continue
        question, answer = child.text("question"), child.text("answer")
        is_special = child.get("is_special", bool, required=False)
        generated = child.get("generated_answer", str, required=False)
        if question is None or answer is None:
            continue
        for placeholder, name in substitutions.items():
            question, answer = question.replace(placeholder, name), answer.replace(placeholder, name)
        if cast.people == 1 or cast.subject in question:  # the rest asks about the other people of the video
            questions.append((Question(question=question, answer=answer, type=question_type(question, is_special)), generated))
    if items and not questions and cast.people > 1:
        reader.complain("qa_pairs", f"has no question about '{cast.subject}'; add one or remove the video")
    return questions


def _presence_in_answers(reader: ObjectReader, questions: tuple[Question, ...], subject: str) -> bool:
    """What most gold answers to existence questions say; answers are all that result files keep of the label."""
    denials = [denies_presence(question.answer, subject) for question in questions if question.type == "existence"]
    if 2 * sum(denials) == len(denials):
        reason = "its existence answers are split" if denials else "it has no existence question"
        reader.complain("is_positive", f"is missing and cannot be inferred, because {reason}; write true or false")
    return 2 * sum(denials) < len(denials)


def _check_subject(reader: ObjectReader, present: bool, cast: _Cast) -> None:
    name = reader.label("sks_present")
    if name and _bare(name) != _bare(cast.subject) and (present or not _states_owner(reader)):
        near = suggestion(cast.subject, (name,))
        reader.complain("sks_present", f"is '{name}' but '{cast.subject}' was asked for; correct one of them{near}")


def _check_legacy_subject(readers: list[ObjectReader], cast: _Cast, problems: list[Problem]) -> None:
    """A misspelt subject would turn a whole `qa_dataset.json` into negatives without a word."""
    owners = {reader.value["sks_present"] for reader in readers if reader.value.get("is_positive") is None and _states_owner(reader)}
    if cast.people == 1 and owners and _bare(cast.subject) not in owners:
        near = suggestion(_bare(cast.subject), sorted(owners))
        message = f"is '{_bare(cast.subject)}' in none of {len(readers)} videos; correct the subject '{cast.subject}'{near}"
        problems.append(Problem(file=cast.file, record="", field="sks_present", message=message))


def _refused(question: Question, subject: str) -> Question:
    """The same question with an answer for a video of somebody else, as the original made its negatives."""
    if denies_presence(question.answer, subject):
        return question
    answer = f"No, {subject} is not in this video." if question.type == "existence" else f"{subject} is not seen in this video."
    return dataclasses.replace(question, answer=answer)
