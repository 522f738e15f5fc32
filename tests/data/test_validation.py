import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pvchat_jax import validate
from pvchat_jax.data.presence_cues import denies_presence
from pvchat_jax.data.validation import check_file
from tests.data.tokenizer_files import write_byte_level

PRESENT = {
    "existence": ("Is <Wilson> here?", "Yes, <Wilson> is."),
    "appearance": ("What does <Wilson> wear?", "<Wilson> wears red."),
    "action": ("What is <Wilson> doing?", "<Wilson> waves."),
    "location": ("Where is <Wilson>?", "<Wilson> is on the left."),
}
ABSENT = {name: (question, "<Wilson> is not in this video.") for name, (question, _) in PRESENT.items()}


class Folder:
    """A folder with videos (of arbitrary bytes) and the records about them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Any] = []

    def add(self, name: str, *, present: bool = True, content: bytes | None = b"", **changes: Any) -> None:
        if content is not None:
            (self.path / name).write_bytes(content or name.encode())
        texts = PRESENT if present else ABSENT
        values = {"video": name, "subject": "<Wilson>", "role": "positive" if present else "easy_negative"}
        values |= {"label": "present" if present else "absent", "origin": "real", "parent": None, "sha256": None}
        values["questions"] = [{"question": q, "answer": a, "type": name} for name, (q, a) in texts.items()]
        self.lines.append({**values, **changes})

    def write(self) -> Path:
        path = self.path / "train.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in self.lines))
        return path

    def problems(self, **arguments: str) -> list[str]:
        return [str(problem) for problem in check_file(self.write(), **arguments).problems]

    def warnings(self) -> list[str]:
        return [str(warning) for warning in check_file(self.write()).warnings]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A file without any fault: one video of each label."""
    folder = Folder(tmp_path)
    folder.add("a.mp4", sha256=hashlib.sha256(b"a.mp4").hexdigest())
    folder.add("b.mp4", present=False)
    return folder


def with_answer(texts: dict[str, tuple[str, str]], name: str, answer: str) -> list[dict[str, str]]:
    return [{"question": q, "answer": answer if kind == name else a, "type": kind} for kind, (q, a) in texts.items()]


def test_a_good_file_has_no_findings(folder: Folder) -> None:
    findings = check_file(folder.write())
    assert (findings.problems, findings.warnings, len(findings.records)) == ((), (), 2)


def test_all_problems_are_found_each_with_record_and_field(folder: Folder) -> None:
    folder.add("gone.mp4", content=None)
    folder.lines.append("{")
    folder.add("c.mp4", role="positiv", origin="reel")
    folder.add("d.mp4", sha256="0" * 64)
    folder.add("empty.mp4")
    (folder.path / "empty.mp4").write_bytes(b"")
    problems = folder.problems()
    path = folder.path / "train.jsonl"
    expected = [
        ("line 4", "is not valid JSON"),
        ("line 5", "field 'role': 'positiv' is not one of"),
        ("line 5", "field 'origin': 'reel' is not one of"),
        (f"line 3 ({folder.path / 'gone.mp4'})", "field 'video': does not exist; correct the path"),
        (f"line 6 ({folder.path / 'd.mp4'})", "field 'sha256': is 000000000000... but the file has"),
        (f"line 7 ({folder.path / 'empty.mp4'})", "field 'video': is an empty file"),
    ]
    assert len(problems) == len(expected)
    for problem, (place, message) in zip(problems, expected, strict=True):
        assert problem.startswith(f"{path}, {place}") and message in problem


def test_a_video_listed_twice_is_a_problem(folder: Folder) -> None:
    folder.add("./a.mp4", content=None)
    [problem] = folder.problems()
    assert "line 3" in problem and "field 'video': is also that of line 1; merge" in problem


def test_equal_content_under_both_labels_is_a_problem_and_a_copy_a_warning(folder: Folder) -> None:
    folder.add("copy.mp4", content=b"a.mp4")
    assert folder.problems() == []
    [warning] = folder.warnings()
    assert "line 3" in warning and "is also that of line 1; a copy adds nothing" in warning
    folder.add("other.mp4", present=False, content=b"a.mp4")
    [problem] = folder.problems()
    assert "line 4" in problem and "is also that of line 1, which is labelled 'present' and this one 'absent'" in problem


@pytest.mark.parametrize(
    ("present", "name", "answer", "message"),
    [
        (True, "existence", "<Wilson> is nowhere to be seen.", "contradicts the label 'present'"),
        (False, "existence", "<Wilson> is on the left.", "contradicts the label 'absent'"),
        (False, "action", "<Wilson> waves.", "describes a subject who is absent; answer that <Wilson> is not"),
        (True, "existence", "<Wilson> is, but <Ada> is not.", None),
        (True, "action", "<Wilson> does not move.", None),
    ],
)
def test_answers_must_agree_with_the_label(folder: Folder, present: bool, name: str, answer: str, message: str | None) -> None:
    folder.add("c.mp4", present=present, questions=with_answer(PRESENT if present else ABSENT, name, answer))
    problems = folder.problems()
    assert len(problems) == (message is not None)
    if message:
        index = list(PRESENT).index(name)
        assert message in problems[0] and f"line 3 ({folder.path / 'c.mp4'}), field 'questions[{index}].answer'" in problems[0]


def test_questions_must_mention_the_subject(folder: Folder) -> None:
    folder.add("c.mp4", questions=[{"question": "Who is here?", "answer": "<Wilson> is.", "type": "existence"}])
    [problem] = folder.problems()
    assert "line 3" in problem and "field 'questions': never mention '<Wilson>'" in problem


def test_the_name_and_the_texts_are_tried_with_the_tokenizer(folder: Folder, tmp_path: Path) -> None:
    good = write_byte_level(tmp_path / "good")
    assert folder.problems(tokenizer=good) == []
    taken = write_byte_level(tmp_path / "taken", control=("<unk>", "<s>", "</s>", "<Wilson>"))
    assert "field 'subject': the subject '<Wilson>' is already token 3" in folder.problems(tokenizer=taken)[0]
    content = json.loads((tmp_path / "good/tokenizer.json").read_text())
    row = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"].append({"id": len(content["model"]["vocab"]), "content": "<Video>", "special": False, **row})
    (tmp_path / "good/tokenizer.json").write_text(json.dumps(content))
    folder.add("c.mp4", questions=with_answer(PRESENT, "action", "<Wilson> <Video> waves."))
    [problem] = folder.problems(tokenizer=good)
    assert "line 3" in problem and "field 'questions[2].answer'" in problem and "contains '<Video>'" in problem


def test_other_subjects_are_found_in_every_record(folder: Folder) -> None:
    assert [problem.count("'<Ada>' was asked for") for problem in folder.problems(subject="<Ada>")] == [1, 1]
    folder.lines[1]["subject"] = "<Ada>"
    [problem] = folder.problems()
    assert "line 2" in problem and "is '<Ada>' but '<Wilson>' was asked for" in problem


def test_imbalances_are_warnings(folder: Folder) -> None:
    for index in range(5):
        folder.add(f"more{index}.mp4")
    assert any("6 videos show the subject and 1 do not" in warning for warning in folder.warnings())
    folder.lines = folder.lines[:1]
    assert any("no video is labelled 'absent'" in warning for warning in folder.warnings())
    folder.add("b.mp4", present=False, questions=with_answer(ABSENT, "", "")[:1])
    assert sum("question is asked of a video labelled 'absent'" in warning for warning in folder.warnings()) == 3
    folder.lines[0]["questions"] = folder.lines[0]["questions"][:1]
    assert sum("no question has the type" in warning for warning in folder.warnings()) == 3
    assert folder.problems() == []
    folder.lines = ["{"]
    assert folder.warnings() == []


def test_command_prints_counts_and_returns_its_verdict(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add("c.mp4")
    assert validate.main([str(folder.write()), "--subject=<Wilson>"]) == 0
    printed = capsys.readouterr().out
    rows = [line.replace("│", " ").split() for line in printed.splitlines()]
    assert all([name, "2", "1"] in rows for name in (*PRESENT, "videos"))
    assert printed.endswith("3 records read, 0 problems, 0 warnings\n")
    (folder.path / "c.mp4").unlink()
    assert validate.main([str(folder.write())]) == 1
    assert (
        f"problem: {folder.path / 'train.jsonl'}, line 3 ({folder.path / 'c.mp4'}), field 'video': does not exist"
        in capsys.readouterr().out
    )


def test_command_reports_an_unreadable_file_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pvchat_jax.validate", str(tmp_path / "gone.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'gone.jsonl'} does not exist; check the name.\n"


@pytest.mark.parametrize(
    ("answer", "denied"),
    [
        ("<Al> is here.", False),
        ("Yes, and nobody else.", False),
        ("No.", True),
        ("No doubt, <Al> is here.", False),
        ("Without any doubt this is <Al>.", False),
        ("<Al> isn\N{RIGHT SINGLE QUOTATION MARK}t here.", True),
        ("The clip lacks <Al>.", True),
        ("Everything but <Al> is shown.", True),
        ("<Al> is here, but <Bo> is not.", False),
        ("<Bo> is here, but there is no trace of <Al>.", True),
        ("Neither <Al> nor <Bo> is here.", True),
        ("I see only <Al>, <Bo> is not present.", False),
        ("This is somebody else.", True),
        ("I cannot describe what they do, as they are absent.", True),
        ("The notable person here is <Al>.", False),
    ],
)
def test_wording_of_denials(answer: str, denied: bool) -> None:
    assert denies_presence(answer, "<Al>") == denied


def test_a_name_does_not_deny_itself() -> None:
    assert not denies_presence("<No> waves.", "<No>")
    assert not denies_presence("I see <Nobody>.", "<Nobody>")
