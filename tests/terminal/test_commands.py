"""`python -m pvchat_jax.subjects` and `python -m pvchat_jax.chat`, as a user calls them."""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax import chat, subjects
from pvchat_jax.assistant import held_out
from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.data.record_files import write_records
from pvchat_jax.data.records import Question, Record
from pvchat_jax.errors import UserError
from pvchat_jax.registry.registry import Registry
from pvchat_jax.synthesis.privacy.consent import Consent, write_consent
from pvchat_jax.timeline.index import Index, KnownVideo, person_key
from pvchat_jax.timeline.windows import Window
from tests.assistant.tiny_registry import decide, make_pack, make_registry
from tests.data.video_files import write_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the registry of the default and a video."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    make_registry(tmp_path / "people", verdict="present")
    write_video(tmp_path / "clip.mp4", 9)
    return tmp_path


def run(command, *arguments: str) -> int:
    try:
        command.main(arguments)
    except SystemExit as status:
        return status.code or 0
    return 0


def test_people_come_go_and_change_their_names(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(subjects, "list") == 0
    listed = capsys.readouterr().out
    assert "Ada" in listed and "Wilson" in listed
    assert run(subjects, "rename", "wilson", "Will") == 0
    assert run(subjects, "export", "will", "will.zip") == 0
    assert run(subjects, "import", "will.zip", "--registry=others", "--name=Bo") == 0
    assert [person.name for person in Registry(Path("others")).people()] == ["<Bo>"]
    assert run(subjects, "show", "WILL") == 0
    shown = capsys.readouterr().out
    assert "written <Will> in questions" in shown and "consent: invented" in shown and "personalised.safetensors" in shown
    assert run(subjects, "forget", "will") == 2 and "add --yes" in capsys.readouterr().err
    assert run(subjects, "forget", "will", "--yes") == 0
    assert [person.name for person in Registry(Path("people")).people()] == ["<Ada>"]
    receipt = json.loads(next((folder / "people" / "receipts").glob("*.json")).read_text())
    assert receipt["done"] and receipt["erased"][0]["kind"] == "pack" and "Will" not in json.dumps(receipt)


def _remember_scores(index_file: Path, name: str) -> None:
    """An index that has scored a window of a video for somebody."""
    with Index(index_file) as index:
        window = Window(number=0, run=0, start=0.0, end=2.0, frame_times=(0.0, 1.0), frames=())
        video = KnownVideo(id=0, origin=0.0, clock_start=0.0, end=2.0, notes=(), is_complete=True)
        video = index.add_windows("0" * 64, "viewing", video, [window], [np.zeros((1, 2, 2))])
        index.put_scores(person_key(name), "pack", video.id, {0: 0.5})


@pytest.mark.parametrize("last_word", [("rename", "wilson", "Will"), ("forget", "wilson", "--yes")])
def test_no_index_knows_a_name_that_is_gone(folder: Path, last_word: tuple[str, ...]) -> None:
    index_file = folder / "data" / "timeline.sqlite"
    _remember_scores(index_file, "<Wilson>")
    _remember_scores(index_file, "<Ada>")
    assert run(subjects, *last_word) == 0
    with Index(index_file) as index:
        assert (index.erase_person("wilson"), index.erase_person("ada")) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "Nobody"), "nothing here is of 'Nobody'"),
        (("export", "Wilso", "x.zip"), "did you mean 'Wilson'"),
        (("add", "clip.mp4", "--invented"), "no file that export made"),
        (("add", "nowhere"), "nowhere does not exist"),
        (("import", "packs", "--consent=none.json"), "none.json"),
        (("list", "--registry=nowhere"), "there is no folder nowhere"),
        (("calibrate", "Wilson", "--records=none.jsonl"), "none.jsonl"),
    ],
)
def test_a_mistake_is_one_sentence(folder: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture) -> None:
    (folder / "packs").mkdir()
    assert run(subjects, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert len(Registry(Path("people")).people()) == 2


def test_a_consent_is_renewed(folder: Path, capsys: pytest.CaptureFixture) -> None:
    past, today = datetime.date(2020, 1, 1), datetime.date.today()
    registry = Registry(Path("people"))
    registry.enrol(make_pack(folder / "pack", "<Zoe>"), consent=Consent(given_by="Zoe", date=past, scope=("train",), expires=past))
    assert run(chat, "--subject=zoe", "--video=clip.mp4", "--question=Who?") == 2
    assert "the consent of Zoe expired on 2020-01-01" in capsys.readouterr().err
    write_consent(folder, Consent(given_by="Zoe", date=today, scope=("train",), expires=today))
    assert run(subjects, "consent", "zoe", "--consent=consent.json") == 0 and f"until {today}" in capsys.readouterr().out
    registry.person("zoe").require_usable(today)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--subject=wilson", "--question=Who?"), "name it with --video=FILE"),
        (("--subject=wilson", "--video=none.mp4"), "none.mp4 does not exist"),
        (("--subject=wilson", "--video=people/registry.json"), "cannot be decoded"),
        (("--subject=wilsno", "--video=clip.mp4"), "nobody called 'wilsno' is enrolled"),
        (("--video=clip.mp4",), "several people are enrolled: Ada, Wilson; name one with --subject=NAME"),
        (("--registry=nowhere", "--video=clip.mp4"), "nobody is enrolled in nowhere"),
        (("--subject=ada", "--max_new_tokens=0", "--video=clip.mp4"), "max_new_tokens is 0"),
    ],
)
def test_a_chat_that_cannot_begin_says_why(
    folder: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Assistant, "open", None)  # before anything is loaded
    assert run(chat, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_chat_for_real(folder: Path) -> None:
    """Commands on the standard input: questions about two people and two videos, a mistake, and the transcript."""
    decide(Registry(Path("people")).person("ada").folder, "absent")
    typed = ["Is Wilson here?", "What is he doing?", "/video gone.mp4", "/subject ada", "What is Ada doing?", "/save chat.json", "/quit"]
    command = [sys.executable, "-m", "pvchat_jax.chat", "--subject=wilson", "--video=clip.mp4", "--max_new_tokens=4"]
    root = str(Path(chat.__file__).parent.parent)
    done = subprocess.run(
        command, input="\n".join(typed), capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr
    assert "Yes, Wilson is in this video.\n(Wilson: present" in done.stdout
    assert "error: video gone.mp4 does not exist" in done.stdout
    assert "Ada is not in this video, so there is nothing to tell.\n(Ada: absent" in done.stdout
    saved = json.loads((folder / "chat.json").read_text())
    assert [turn["question"] for turn in saved] == ["Is Wilson here?", "What is he doing?", "What is Ada doing?"]
    assert list(saved[2]["people"]) == ["Ada"] and "this video" not in saved[1]["answer"]


class Knowing:
    """An assistant that sees in the label of a video who is in it, and takes Bo for Ada."""

    names = ("<Ada>", "<Bo>")
    num_frames = 4

    def watch_frames(self, windows, times, source):
        return [Watched(frames, (), source) for frames in windows]

    def log_odds(self, watched, name):
        return [float(item.features.mean()) for item in watched]

    def presence(self, watched, name):
        brighter = {"<Ada>": 20, "<Bo>": 60}[name]
        return [Presence(0.5, "present" if item.features.mean() > brighter else "absent", 0.0) for item in watched]


def write_clips(folder: Path, name: str, values: list[tuple[int, str]]) -> Path:
    """Records whose videos have one grey each."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    records = []
    for number, (grey, role) in enumerate(values):
        Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(folder / f"{number}.png")
        questions = (Question(question="Who?", answer="Nobody.", type="action"),)
        records.append(Record(video=f"{number}.png", subject=name, role=role, origin="rendered", questions=questions))
    write_records(folder / "clips.jsonl", records)
    return folder / "clips.jsonl"


def test_who_is_taken_for_whom(folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assistant, "open", lambda registry: Knowing())
    ada = write_clips(folder / "ada", "<Ada>", [(40, "positive"), (50, "positive"), (0, "hard_negative")])
    bo = write_clips(folder / "bo", "<Bo>", [(90, "positive"), (99, "positive"), (30, "easy_negative"), (80, "easy_negative")])
    assert run(subjects, "interference", f"--records={ada}", f"--records={bo}", "--out=found.json") == 0
    found = json.loads((folder / "found.json").read_text())
    assert found["names"] == ["Ada", "Bo"] and found["taken_by_pack_and_person"] == [[1.0, 1.0], [0.0, 1.0]]
    assert found["accuracy"] == [1.0, 0.75] and found["change_by_pack_and_person"] == [[0.0, 0.0], [0.0, 0.0]]
    assert "Ada's clips" in capsys.readouterr().out
    assert run(subjects, "interference", f"--records={ada}", f"--records={ada}") == 2
    assert "one file for each person" in capsys.readouterr().err


def test_a_person_is_calibrated(folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assistant, "open", lambda registry: Knowing())
    grey = [(200, "positive")] * 5 + [(40, "hard_negative")] * 4
    records = write_clips(folder / "ada", "<Somebody>", grey)
    (folder / "ada" / "0.png").unlink()
    assert run(subjects, "calibrate", "ada", f"--records={records}", "--false_accepts=0.2") == 0
    shown = capsys.readouterr().out
    assert "1 of 9 videos were left out" in shown
    assert (
        "stated false accepts 20.0%; 0.0% of 4 held-out look-alikes were called present, which with 95 % confidence is below 52.7%" in shown
    )
    assert "of 4 clips with the person" in shown


def test_of_videos_that_cannot_be_read_nothing_is_concluded(folder: Path) -> None:
    records = held_out.read_clips(write_clips(folder / "ada", "<Ada>", [(0, "positive")]))
    (folder / "ada" / "0.png").unlink()
    with pytest.raises(UserError, match="none of the 1 videos can be read"):
        held_out.watch_clips(Knowing(), records)
