"""What a run says when something it reads is not there."""

import dataclasses
import subprocess
import sys

import pytest

from configs import stage1, stage2
from pvchat_jax.config.inputs import require_inputs
from pvchat_jax.errors import UserError


def test_one_sentence_has_everything_that_is_missing_and_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        require_inputs(stage2.get_config("8b"))
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "weights/8b and weights/8b/tokenizer (python -m converters.from_torch --src FOLDER_OF_THE_ORIGINAL_FILES --dst weights/8b)",
        "data/wilson/train.jsonl",
        "python -m pvchat_jax.validate data/wilson/train.jsonl",
        "runs/8b/stage1 (python -m pvchat_jax.train --config=configs/stage1.py:8b)",
    ):
        assert part in message


def test_what_is_there_is_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights/8b").mkdir(parents=True)
    with pytest.raises(UserError, match="this run needs a tokenizer in weights/8b/tokenizer") as caught:
        require_inputs(stage1.get_config("8b"))
    assert "from_torch" not in str(caught.value)
    (tmp_path / "weights/8b/tokenizer").mkdir()
    (tmp_path / "data/wilson").mkdir(parents=True)
    (tmp_path / "data/wilson/train.jsonl").touch()
    require_inputs(stage1.get_config("8b"))


def test_the_tiny_preset_points_to_the_quickstart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"python -m pvchat_jax\.quickstart"):
        require_inputs(stage1.get_config("tiny"))
    config = stage1.get_config("tiny")
    with pytest.raises(UserError, match=r"config\.data\.train"):
        require_inputs(dataclasses.replace(config, data=dataclasses.replace(config.data, train="")))


def test_the_question_is_asked_before_anything_heavy_is_imported():
    program = (
        "import sys\n"
        "from pvchat_jax.train import main\n"
        "try:\n"
        "    main(['--config=configs/stage1.py:8b'])\n"
        "except SystemExit as stop:\n"
        "    print(stop.code, sorted({'jax', 'transformers', 'grain'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
    assert done.stderr.startswith("error: this run needs weights/8b")
    assert "Traceback" not in done.stderr
