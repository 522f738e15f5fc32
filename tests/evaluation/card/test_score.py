"""The command: its files, its exit codes, and its gate."""

import json
from pathlib import Path

import pytest

from pvchat_jax.score import main
from tests.evaluation.card.made import drawn_answers, result_json


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result files of a good and of a bad model, and the card of the good one."""
    folder = tmp_path_factory.mktemp("results")
    for name, quality in (("good", 0.95), ("bad", 0.6)):
        answers = drawn_answers("<Aa>", quality, videos=12)
        (folder / f"{name}.json").write_text(json.dumps(result_json(answers, labels=False)), encoding="utf-8")
    assert main([str(folder / "good.json"), f"--out={folder / 'card'}"]) == 0
    return folder


def test_it_writes_the_card_and_says_what_counts(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results / "bad.json"), f"--out={results / 'other'}", "--title=Bad"]) == 0
    assert {"card.html", "card.json", "scores.csv", "table.tex"} <= {path.name for path in (results / "other").iterdir()}
    said = " ".join(capsys.readouterr().out.split())
    assert "bad has a balanced accuracy of" in said and "But: bad was asked about one subject" in said


@pytest.mark.parametrize("baseline", ["card/card.json", "good.json"])
def test_the_gate_closes_when_scores_fall(results: Path, tmp_path: Path, baseline: str, capsys: pytest.CaptureFixture[str]) -> None:
    against = [f"--out={tmp_path}", f"--baseline={results / baseline}"]
    assert main([str(results / "good.json"), *against]) == 0
    assert main([str(results / "bad.json"), *against, "--max-drop=0.05"]) == 1
    assert "content_accuracy:" in capsys.readouterr().out
    assert main([str(results / "bad.json"), *against, "--max-drop=0.9"]) == 0
    assert main([str(results / "bad.json"), *against, "--gate=false_rejection", "--max-drop=0.05"]) == 1  # less is better


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.json"], "does not exist"),
        (["good.json", "--baseline=bad.json", "--gate=accurracy"], "no score 'accurracy'"),
        (["good.json", "--baseline=gone.json"], "does not exist"),
        (["good.json", "--judge=nobody"], "correct --judge"),
        (["good.json", "--train=gone.jsonl"], "does not exist"),
    ],
)
def test_mistakes_are_told_in_a_line(
    results: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results)
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--out=x"])
    error = capsys.readouterr().err
    assert caught.value.code == 2 and message in error and error.count("\n") == 1
