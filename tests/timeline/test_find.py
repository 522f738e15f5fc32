"""The command line and the small API, over a registry of the tiny base."""

import json
from pathlib import Path

import pytest

from pvchat_jax import find as command
from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.evaluation.presence_calibration import PresenceCalibration, write_calibration
from pvchat_jax.registry.registry import Registry
from pvchat_jax.timeline import search
from tests.assistant.tiny_registry import make_registry
from tests.timeline.long_videos import GREEN, GREY, evenly, write_frames
from tests.timeline.stub_watcher import StubWatcher


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return make_registry(tmp_path_factory.mktemp("registry") / "people", ("<Wilson>",))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubWatcher:
    watcher = StubWatcher()
    monkeypatch.setattr(Assistant, "open", lambda registry: watcher)
    return watcher


def run(registry: Registry, place: Path, *options: str) -> int:
    """The exit status; the index lies beside `place`."""
    arguments = [str(place), "--subject=wilson", f"--registry={registry.folder}", f"--index={place.parent / 'index.sqlite'}", *options]
    try:
        command.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_json_and_files_for_scripts(registry: Registry, stub: StubWatcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_frames(tmp_path / "v.mp4", evenly([(4, GREY), (6, GREEN), (4, GREY)]))
    assert run(registry, video, "--json", f"--out={tmp_path / 'out'}") == 0
    values = json.loads(capsys.readouterr().out)
    (interval,) = values["videos"][0]["intervals"]
    assert (interval["subject"], interval["start"], interval["end"]) == ("Wilson", 4, 10)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["timeline.csv", "timeline.html", "timeline.json", "v.mp4.vtt"]
    assert "data:image/jpeg;base64," in (tmp_path / "out" / "timeline.html").read_text()
    encoded = stub.num_encoded
    assert run(registry, video) == 0
    assert stub.num_encoded == encoded
    assert "0:00:04" in capsys.readouterr().out


def test_exit_status_tells_what_came_of_it(
    registry: Registry, stub: StubWatcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_frames(folder / "grey.mp4", evenly([(3, GREY)]))
    assert run(registry, folder) == 1
    (folder / "broken.mp4").write_bytes(b"?" * 100)
    capsys.readouterr()
    assert run(registry, folder) == 3
    assert "not read" in capsys.readouterr().out
    assert run(registry, folder / "broken.mp4") == 2
    assert capsys.readouterr().err.startswith("error: video ")
    stub.fail_after = 0
    write_frames(folder / "new.mp4", evenly([(4, GREY)]))
    assert run(registry, folder) == 130


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--subject=willson"], "willson"),
        (["--window=0"], "--window 0"),
        (["--index=x.db"], "--index x.db"),
        (["--at_least=2"], "--at_least 2"),
    ],
)
def test_mistakes_are_told_before_the_model_is_loaded(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    video = write_frames(tmp_path / "v.mp4", evenly([(1, GREY)]))
    assert run(registry, video, *options) == 2
    assert said in capsys.readouterr().err


def test_the_real_assistant_is_asked_about_windows(registry: Registry, tmp_path: Path) -> None:
    video = write_frames(tmp_path / "v.mp4", evenly([(5, GREY)]))
    believe(registry, 5.0)
    assistant, index = Assistant.open(registry), tmp_path / "index.sqlite"
    (interval,) = search.find(assistant, registry, video, "wilson", index)
    assert (interval.start, interval.end) == (0, 5)
    believe(registry, -5.0)
    assistant.refresh()
    assert search.find(assistant, registry, video, "wilson", index) == []


def believe(registry: Registry, log_odds: float) -> None:
    """Has the person seen everywhere, or nowhere."""
    calibration = PresenceCalibration(slope=0.0, offset=log_odds, present_above=0.0, absent_below=0.0)
    write_calibration(registry.person("wilson").folder, calibration)
