"""Command line to configuration and back."""

import dataclasses
import json
from pathlib import Path

import pytest

from pvchat_jax.config.evaluation_schema import EvaluationConfig
from pvchat_jax.config.flags import from_dict, load_config_file, override, parse_command_line, to_dict
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError

TINY_2 = "--config=configs/stage2.py:tiny"
PRESETS = [(stage, preset) for stage in (1, 2) for preset in ("8b", "tiny", "reference")]


def parse(*arguments: str) -> TrainConfig:
    return parse_command_line(arguments, description="about the command")


def test_overrides_change_what_they_name_with_its_type_and_nothing_else():
    config = parse(
        TINY_2,
        "--config.optimizer.lora=1",
        "--config.num_steps",
        "30",
        "--config.data.tile_grid=(2,1)",
        "--config.data.question_types=existence,action",
        "--config.data.balance_presence=false",
        "--config.model.language_model.sliding_window=16",
        "--config.data.subject=<Ye>",
    )
    base = parse(TINY_2)
    expected = dataclasses.replace(
        base,
        num_steps=30,
        optimizer=dataclasses.replace(base.optimizer, lora=1.0),
        data=dataclasses.replace(
            base.data, tile_grid=(2, 1), question_types=("existence", "action"), balance_presence=False, subject="<Ye>"
        ),
        model=dataclasses.replace(base.model, language_model=dataclasses.replace(base.model.language_model, sliding_window=16)),
    )
    assert config == expected
    assert isinstance(config.optimizer.lora, float)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((TINY_2, "--config.data.num_frame=3"), ("config.data.num_frame ", "did you mean config.data.num_frames?")),
        ((TINY_2, "--config.lora=1e-4"), ("config.lora ", "did you mean config.optimizer.lora?")),
        ((TINY_2, "--noconfig.data.balance_presenc"), ("did you mean config.data.balance_presence?",)),
        ((TINY_2, "--num_steps=3"), ("--num_steps", "--config.num_steps?")),
        ((TINY_2, "num_steps=3"), ("num_steps=3", "--config.NAME=VALUE")),
        ((TINY_2, "--config.data=3"), ("config.data is a group",)),
        ((TINY_2, "--config.num_steps=1e3"), ("config.num_steps takes a whole number", "'1e3'")),
        ((TINY_2, "--config.optimizer.lora=small"), ("config.optimizer.lora takes a number", "'small'")),
        ((TINY_2, "--config.data.balance_presence=maybe"), ("takes true or false", "'maybe'")),
        ((TINY_2, "--config.data.tile_grid=a,b"), ("config.data.tile_grid", "whole number")),
        ((TINY_2, "--config.model.language_model.sliding_window=x"), ("sliding_window takes a whole number", "'x'")),
        ((TINY_2, "--config.seed"), ("--config.seed",)),
        ((TINY_2, "--config.stage=3"), ("stage must be 1 or 2",)),
        ((TINY_2, "--config.compute_dtype=int8"), ("compute_dtype 'int8' is not one of",)),  # which frozen_dtype may be
        ((TINY_2, "--config.data.image_size=32"), ("data.image_size 32 differs from model.vision.image_size 64",)),
        (("--config=configs/stage3.py",), ("configs/stage3.py", "did you mean configs/stage2.py?")),
        (("--config=configs/stage2.py:tinny",), ("configs/stage2.py", "'tinny'", "did you mean 'tiny'")),
        ((), ("no --config", "--help")),
        (("--config",), ("--config needs a value",)),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it_and_the_remedy(arguments, parts):
    with pytest.raises(UserError) as caught:
        parse(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("x = 1\n", ("no function get_config",)),
        ("def get_config(preset=''):\n    return {}\n", ("describes a dict", "takes a TrainConfig")),
        ("def get_config(preset=''):\n    x = 1\n    return x.y\n", ("line 3", "AttributeError")),
        ("def get_config(:\n", ("SyntaxError",)),
        (
            "from pvchat_jax.config.schema import TrainConfig\ndef get_config(preset=''):\n    return TrainConfig(stage=7)\n",
            ("line 3", "stage must be 1 or 2, not 7"),
        ),
    ],
)
def test_a_mistake_in_a_config_file_names_the_file_and_the_line(tmp_path, source, parts):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(UserError) as caught:
        load_config_file(f"{path}:x")
    assert all(part in str(caught.value) for part in (str(path), *parts)), caught.value


@pytest.mark.parametrize(("stage", "preset"), PRESETS)
def test_a_config_survives_json(stage, preset):
    config = load_config_file(f"configs/stage{stage}.py:{preset}")
    config = override(config, ["--config.model.language_model.sliding_window=16"] if stage == 1 else [])
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_reading_json_reports_unknown_settings_and_wrong_types():
    values = to_dict(parse(TINY_2))
    with pytest.raises(UserError, match=r"config\.data\.batchsize is not a setting, did you mean config\.data\.batch_size\?"):
        from_dict(TrainConfig, {**values, "data": {"batchsize": 3}})
    with pytest.raises(UserError, match=r"config\.optimizer\.lora takes a number, not 'x'"):
        from_dict(TrainConfig, {**values, "optimizer": {"lora": "x"}})
    with pytest.raises(UserError, match=r"config\.seed takes a whole number, not True"):
        from_dict(TrainConfig, {**values, "seed": True})


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), (TINY_2, "--config.seed=3", "--help")])
def test_help_explains_and_leaves(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    printed = capsys.readouterr().out
    assert caught.value.code == 0
    assert "about the command" in printed
    assert ("--config.data.tile_grid=1,1" in printed) == (len(arguments) == 3)


def test_the_printed_settings_can_be_given_back(capsys):
    with pytest.raises(SystemExit):
        parse("--config=configs/stage1.py:8b", "--help")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  --config.")]
    given = [line.replace("'", "") for line in lines if not line.endswith("=None")]
    assert override(parse(TINY_2), given) == load_config_file("configs/stage1.py:8b")


def test_a_config_file_may_lie_anywhere(tmp_path):
    copy = tmp_path / "mine.py"
    copy.write_text(Path("configs/stage1.py").read_text())
    assert load_config_file(f"{copy}:tiny") == load_config_file("configs/stage1.py:tiny")


def test_lists_of_texts_take_paths_settings_and_numbers_and_may_be_empty():
    given = ["--config.runs=/runs/a,b c", "--config.records=x.jsonl", "--config.checkpoints=100,all", "--config.others="]
    given += ["--config.decoding=greedy,num_beams=5,temperature=0.7+top_p=0.9", "--config.systems=('base','blind')", "--config.seeds=0,1"]
    config = parse_command_line(["--config=configs/eval.py:tiny", *given], description="", kind=EvaluationConfig)
    assert (config.runs, config.records, config.checkpoints, config.others) == (("/runs/a", "b c"), ("x.jsonl",), ("100", "all"), ())
    assert config.decoding == ("greedy", "num_beams=5", "temperature=0.7+top_p=0.9")
    assert (config.systems, config.seeds) == (("base", "blind"), (0, 1))
