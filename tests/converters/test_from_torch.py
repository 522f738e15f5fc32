"""The command: what it takes, prints and exits with."""

from pathlib import Path

import pytest
from safetensors.numpy import save_file

from converters import from_torch
from tests import golden_sets
from tests.converters.published_files import chat_checkpoint, save_torch, vision_file


@pytest.fixture
def _golden_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden's sizes under a preset's name."""
    monkeypatch.setitem(from_torch.PRESETS, "golden", golden_sets.load("A").config)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status of the command with these arguments."""
    monkeypatch.setattr("sys.argv", ["from_torch", *map(str, arguments)])
    try:
        from_torch.main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_help_says_what_is_read_and_what_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    for told in ("InternVideo2-Chat-8B-HD", "Mistral-7B-Instruct-v0.3", "pvchat_jax[torch]", "DST.partial", "weights.json", "--part", "8b"):
        assert told in shown


@pytest.mark.usefixtures("_golden_preset")
def test_the_report_names_what_is_left_to_training_and_what_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    save_file(chat_checkpoint(), tmp_path / "model.safetensors")
    assert run(monkeypatch, "--src", tmp_path, "--dst", tmp_path / "weights", "--preset", "golden", "--dtype", "float32") == 0
    shown = capsys.readouterr().out
    assert "left for training to initialise: subject_tokens" in shown and "without a tokenizer" in shown
    assert f"copy tokenizer.json and tokenizer_config.json of the language model to {tmp_path / 'weights' / 'tokenizer'}" in shown
    assert "not used, never called: project_down" in shown and "fingerprint" in shown


@pytest.mark.usefixtures("_golden_preset")
def test_several_sources_and_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    save_torch({key: value for key, value in vision_file().items() if "blocks" in key}, tmp_path / "blocks.pt")
    save_torch({key: value for key, value in vision_file().items() if "blocks" not in key}, tmp_path / "rest.pt")
    sources = ("--src", tmp_path / "blocks.pt", "--src", tmp_path / "rest.pt")
    assert run(monkeypatch, *sources, "--dst", tmp_path / "weights", "--preset", "golden", "--part", "vision") == 0
    assert "wrote 31 parameters" in capsys.readouterr().out


@pytest.mark.usefixtures("_golden_preset")
def test_what_cannot_be_converted_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    save_file(chat_checkpoint(), tmp_path / "model.safetensors")
    assert run(monkeypatch, "--src", tmp_path, "--dst", tmp_path / "weights") == 2  # of the sizes of the 8B model it is not
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and shown.startswith("error: tensors do not fit the model '8b'")


@pytest.mark.usefixtures("_golden_preset")
def test_a_stopped_run_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(from_torch, "convert", stop)
    assert run(monkeypatch, "--src", tmp_path, "--dst", tmp_path / "weights", "--preset", "golden") == 130
    assert f"continues from {tmp_path / 'weights'}.partial" in capsys.readouterr().err
