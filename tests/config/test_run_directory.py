"""Whose output directory it is."""

import dataclasses

import pytest

from configs import stage1
from pvchat_jax.config.flags import override
from pvchat_jax.config.run_directory import check_output_dir, read_config, write_config
from pvchat_jax.errors import UserError


@pytest.fixture
def config(tmp_path):
    """A run that has saved a checkpoint."""
    settings = ("optimizer.lora=0.25", "data.text_buckets=64,128", "num_steps=400", "optimizer.warmup_steps=5")
    config = override(stage1.get_config("tiny"), [f"--config.{setting}" for setting in settings])
    config = dataclasses.replace(config, output_dir=str(tmp_path / "run"))
    write_config(config)
    (tmp_path / "run/checkpoints/20").mkdir(parents=True)
    return config


def test_a_run_can_be_reopened(config):
    assert read_config(config.output_dir) == config


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("--config.optimizer.lora=0.5", ("optimizer.lora is 0.25, not 0.5", "--config.optimizer.lora=0.25")),
        ("--config.data.text_buckets=64,96", ("data.text_buckets is 64,128, not 64,96",)),
        ("--config.num_steps=399", ("400 steps", "num_steps 399", "can only be raised")),
        ("--config.weights=w", ("weights is tiny, not w",)),
    ],
)
def test_another_run_is_refused_with_the_first_difference_and_the_remedy(config, argument, parts):
    with pytest.raises(UserError) as caught:
        check_output_dir(override(config, [argument]))
    assert all(part in str(caught.value) for part in (*parts, "another --config.output_dir")), caught.value


def test_what_does_not_change_the_result_may_differ(config):
    arguments = ("num_steps=500", "log_every=1", "checkpoint.every_steps=7", "checkpoint.keep=5", "data.num_workers=2", "mesh.fsdp=4")
    check_output_dir(override(config, [f"--config.{argument}" for argument in arguments]))


def test_a_run_that_saved_nothing_does_not_hold_its_directory(config, tmp_path):
    (tmp_path / "run/checkpoints/20").rmdir()
    check_output_dir(override(config, ["--config.optimizer.lora=0.5"]))


def test_a_stage_cannot_start_from_its_own_directory(config, tmp_path):
    with pytest.raises(UserError, match="init_from and output_dir"):
        check_output_dir(dataclasses.replace(config, init_from=str(tmp_path / "run" / "..") + "/run"))


@pytest.mark.parametrize(("text", "part"), [("{", "is not JSON"), ('{"stages": 1}', "did you mean config.stage?")])
def test_a_spoilt_configuration_is_named(config, tmp_path, text, part):
    (tmp_path / "run/config.json").write_text(text)
    with pytest.raises(UserError) as caught:
        read_config(config.output_dir)
    assert part in str(caught.value) and str(tmp_path / "run/config.json") in str(caught.value)


def test_a_directory_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        read_config(tmp_path)


def test_an_output_dir_that_cannot_be_made_is_named(config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run cannot be written"):
        write_config(dataclasses.replace(config, output_dir=str(tmp_path / "file/run")))
