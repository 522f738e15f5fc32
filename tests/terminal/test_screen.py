"""The chat with an assistant that answers what it is told to."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from pvchat_jax.assistant.assistant import Reply
from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.errors import UserError
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.terminal import lines, screen
from pvchat_jax.terminal.conversation import Conversation
from pvchat_jax.terminal.lines import keep_line, read_lines
from pvchat_jax.terminal.screen import Screen


class Scripted:
    """Says of everybody what `verdict` says, and repeats the question."""

    def __init__(self) -> None:
        self.verdict = "present"
        self.looked_at: list[tuple] = []
        self.histories: list[list[tuple[str, str]]] = []

    def watch(self, path, *, start=None, end=None):
        if "bad" in str(path):
            raise UserError(f"video {path} is empty (0 bytes); make or copy it again.")
        self.looked_at.append((str(path), start, end))
        return Watched(None, (), str(path))

    def refresh(self):
        pass

    def stream(self, watched, names, question, options, history):
        self.histories.append(list(history))
        if question == "stop":
            raise KeyboardInterrupt
        yield from ("You ", "asked: ", question)
        presence = {name: Presence(0.9, self.verdict, 2.0) for name in names}
        return Reply(f"You asked: {question}", presence, question != "long", 9, 3)


class Case:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        people = [
            SimpleNamespace(name=f"<{name}>", folder=folder / name.lower(), require_usable=lambda today: None) for name in ("Wilson", "Ada")
        ]
        for person in people:
            person.folder.mkdir()
        by_name = {person.name.lower().strip("<>"): person for person in people}
        self.registry = SimpleNamespace(people=lambda: people, person=lambda name: by_name[name.lower().strip("<>")], folder=folder)
        self.assistant = Scripted()
        self.conversation = Conversation(self.assistant, ["<Wilson>"], DecodingOptions())
        self._monkeypatch = monkeypatch

    def type(self, *typed: str) -> str:
        """What is shown when these lines are typed."""
        self._monkeypatch.setattr(lines.sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
        console = Console(file=io.StringIO(), width=200, soft_wrap=True, markup=False, highlight=False, emoji=False)
        Screen(self.conversation, self.registry, console).run()
        return console.file.getvalue()


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    made = Case(tmp_path, monkeypatch)
    made.conversation.look_at(Path("clip.mp4"))
    return made


def test_questions_are_answered_and_kept(case: Case) -> None:
    shown = case.type("Is <Wilson> here?", "", "long [bold]")
    assert "You asked: Is Wilson here?\n(Wilson: present, 90%)" in shown and "[bold]" in shown
    assert case.assistant.histories == [[], [("Is <Wilson> here?", "You asked: Is <Wilson> here?")]]
    assert [said.question for said in case.conversation.turns] == ["Is <Wilson> here?", "long [bold]"]
    assert "(cut off)" in case.type("long")


def test_videos_and_people_change(case: Case) -> None:
    shown = case.type("/video", '/video "my clip.mp4" 2 4.5', "/subject Ada, wilson", "Who?", "/subject", "/quit", "never asked")
    assert shown.count("clip.mp4") >= 3 and case.assistant.looked_at[-1] == ("my clip.mp4", 2.0, 4.5)
    assert "(Ada: present, 90%; Wilson: present, 90%)" in shown and "enrolled: Wilson, Ada; asked about: Ada, Wilson" in shown
    assert "never asked" not in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/video bad.mp4", "is empty"),
        ("/video a.mp4 5 2", "no start and end in seconds"),
        ("/video a.mp4 now", "no start and end in seconds"),
        ("/vidoe", "there is no /vidoe; /help lists what there is; did you mean '/video'?"),
        ("/video 'a", "cannot be read"),
        ("/save", "takes the name of one file"),
        ("/save x.exe", "ends in neither"),
        ("stop", "stopped"),
    ],
)
def test_a_mistake_loses_nothing(case: Case, line: str, message: str) -> None:
    shown = case.type("Is he here?", line, "And now?")
    assert message in shown and "You asked: And now?" in shown
    assert case.conversation.video == "clip.mp4" and len(case.conversation.turns) == 2


def test_the_conversation_is_saved(case: Case, tmp_path: Path) -> None:
    assert "nothing was said yet" in case.type(f"/save {tmp_path / 'a.json'}")
    case.assistant.verdict = "unsure"
    shown = case.type("Is he here?", f"/save {tmp_path / 'a.json'}", f"/save {tmp_path / 'a.txt'}", f"/save {tmp_path / 'a.txt'}")
    assert "exists already" in shown
    saved = json.loads((tmp_path / "a.json").read_text())
    assert saved[0]["people"] == {"Wilson": {"verdict": "unsure", "probability": 0.9, "log_odds": 2.0}} and saved[0]["video"] == "clip.mp4"
    assert "A: You asked: Is he here?\n(Wilson: unsure, 90%)" in (tmp_path / "a.txt").read_text()


def test_without_a_video_it_says_so(case: Case) -> None:
    case.conversation = Conversation(case.assistant, ["<Wilson>"], DecodingOptions())
    assert "there is no video yet; name one with /video FILE" in case.type("Is he here?")


@pytest.mark.parametrize(("verdict", "status"), [("present", 0), ("absent", 1), ("unsure", 3)])
def test_scripts_are_told_by_the_status(case: Case, verdict: str, status: int) -> None:
    case.assistant.verdict = verdict
    assert case.conversation.ask("Is he here?").status == status


def test_what_was_typed_lies_with_the_one_person_it_names(case: Case) -> None:
    case.type("Is he here?", "Is he beside ada?", "/subject ada", "Is she here?", "/subject ada wilson", "Are they here?", "/video x.mp4")
    folders = [case.registry.person(name).folder for name in ("wilson", "ada")]
    assert [read_lines(folder) for folder in folders] == [["Is he here?"], ["Is she here?"]]
    for number in range(600):
        keep_line(folders[0], f"question\n{number}")
    assert len(read_lines(folders[0])) == 500 and read_lines(folders[0])[-1] == "question 599"
    keep_line(folders[0] / "erased", "Is he here?")
    assert not (folders[0] / "erased").exists()


def test_help_names_every_command(case: Case) -> None:
    shown = case.type("/help")
    assert all(name in shown for name in Screen(case.conversation, case.registry, Console())._commands)
    assert screen._HELP.count("\n") == len(Screen(case.conversation, case.registry, Console())._commands)
