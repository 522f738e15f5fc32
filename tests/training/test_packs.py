"""What a run learned, taken away as a pack and put back on the base."""

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from rich.console import Console
from safetensors.numpy import load_file, save_file

from converters import to_torch
from pvchat_jax import train
from pvchat_jax.config.flags import parse_command_line
from pvchat_jax.config.pack_manifest import MANIFEST_FILE, TENSORS_FILE, read_manifest
from pvchat_jax.config.run_directory import CHECKPOINTS, write_config
from pvchat_jax.config.schema import MeshConfig, TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import read_calibration, uncalibrated, write_calibration
from pvchat_jax.evaluation.threshold import read_threshold, write_threshold
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.initialise import LoadedRun, ancestors, initialise, learned_by, load_run
from pvchat_jax.training.partition import Params, group_of
from pvchat_jax.training.state import TrainState
from pvchat_jax.training.weights import REPORT_FILE, SAFETENSORS_FILE, weights_fingerprint
from tests.training.stand_in import StandIn
from tests.training.stand_in_run import OVERRIDES, assert_equal, make_batches, params_of, stand_in_model, write_records

RATES = ("steps_per_second", "videos_per_second", "data_wait")


@pytest.fixture(autouse=True, scope="module")
def _stand_in():
    with stand_in_model():
        yield


class Trained(NamedTuple):
    """A first stage of ten steps, a second one in which LoRA rests, and a pack of each."""

    folder: Path
    runs: tuple[Path, Path]
    packs: tuple[Path, Path]


def arguments(folder: Path, output: str, stage: int, *more: str) -> list[str]:
    settings = {
        "weights": folder / "base",
        "data.train": folder / "train.jsonl",
        "output_dir": folder / output,
        "data.batch_size": 2,
        "data.questions_per_video": 1,
        "data.num_frames": stage,
        "optimizer.warmup_steps": 1,
        "mesh.data": 1,
        "log_every": 1,
    }
    given = [f"--config.{name}={value}" for name, value in settings.items()]
    return [f"--config=configs/stage{stage}.py:tiny", *OVERRIDES, *given, *more]


def run(*given: str) -> Path:
    with contextlib.redirect_stdout(io.StringIO()):
        return train.run(parse_command_line(list(given), description=""))


def numbers(output: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in RATES} for line in lines]


def export(trained: Path, destination: Path) -> str:
    return to_torch.export(trained, "pack", destination, console=Console(quiet=True))


def load(directory: Path) -> LoadedRun:
    return load_run(directory, make_mesh(MeshConfig(data=1), jax.devices()[:1]))


def save_second_stage(given: list[str]) -> Path:
    """A checkpoint of a run that is built on another, without the training."""
    config = parse_command_line(given, description="")
    checkpoints = Checkpoints(Path(config.output_dir) / CHECKPOINTS)
    state, _ = start(config)
    state = state._replace(trainable=jax.tree.map(lambda leaf: leaf + 0.1, state.trainable))
    meta = {"must_match": {"records": "others"}, "init_from_steps": [10], "versions": {"jax": "0"}}
    checkpoints.save(4, state, make_batches(), meta)
    checkpoints.wait()
    checkpoints.close()
    write_config(config)
    return Path(config.output_dir)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    write_records(folder)
    config = parse_command_line(arguments(folder, "x", 1), description="")
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    values = {name: np.asarray(value) for name, value in flatten_dict(params_of(config, mesh, 3), sep="/").items()}
    (folder / "base").mkdir()
    base = {name: value for name, value in values.items() if group_of(name) in ("qformer", "vision_upper", "base")}
    save_file(base, folder / "base" / SAFETENSORS_FILE)
    first = run(*arguments(folder, "stage1", 1, "--config.num_steps=10"))
    write_threshold(first, 0.25, 3)
    write_calibration(first, uncalibrated(0.5))
    resting = (f"--config.init_from={first}", "--config.optimizer.lora=0", "--config.frozen_dtype=bfloat16")
    second = save_second_stage(arguments(folder, "stage2", 2, *resting))
    packs = folder / "pack1", folder / "pack2"
    for directory, pack in zip((first, second), packs, strict=True):
        export(directory, pack)
    return Trained(folder, (first, second), packs)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_pack_on_its_base_is_the_run_bit_for_bit(trained: Trained, stage: int) -> None:
    ours, again = load(trained.runs[stage - 1]), load(trained.packs[stage - 1])
    assert_equal(again.params, ours.params)
    assert (again.step, again.tokenizer.subjects) == (ours.step, ("<Wilson>",))
    assert read_threshold(trained.packs[0]) == 0.25 and read_calibration(trained.packs[0]) == uncalibrated(0.5)


def test_a_later_stage_starts_from_a_pack_as_from_its_run(trained: Trained, tmp_path: Path) -> None:
    """LoRA, which rested in the second stage, trains again here."""
    given = [arguments(trained.folder, str(tmp_path), 2, f"--config.init_from={origin[1]}") for origin in (trained.runs, trained.packs)]
    of_run, of_pack = (start(parse_command_line(arguments, description="")) for arguments in given)
    assert_equal(of_pack, of_run)


def test_a_pack_of_a_run_in_int8_is_for_the_base_as_it_was(trained: Trained, tmp_path: Path) -> None:
    resting = (f"--config.init_from={trained.runs[0]}", "--config.optimizer.lora=0", "--config.frozen_dtype=int8")
    ours = save_second_stage(arguments(trained.folder, str(tmp_path / "run"), 2, *resting))
    export(ours, tmp_path / "pack")
    assert_equal(load_file(tmp_path / "pack" / TENSORS_FILE), load_file(trained.packs[1] / TENSORS_FILE))
    assert read_manifest(tmp_path / "pack").base_fingerprint == weights_fingerprint(trained.folder / "base")
    loaded = load(tmp_path / "pack")
    assert loaded.params["language_model"]["lm_head"]["kernel"].values.dtype == np.int8
    assert_equal(loaded.params, load(ours).params)


def start(config: TrainConfig) -> tuple[TrainState, Params]:
    """What the loop would start from."""
    checkpoints = Checkpoints(Path(config.output_dir) / CHECKPOINTS, read_only=True)
    begun = initialise(config, StandIn(), make_mesh(config.mesh, jax.devices()[:1]), checkpoints, make_batches(), {})
    return begun.state, begun.frozen


def test_a_pack_holds_what_was_learned_and_nothing_of_the_base(trained: Trained) -> None:
    groups = {group_of(name) for name in load_file(trained.packs[1] / TENSORS_FILE)}
    assert groups == {"subject_tokens", "name_row", "qformer", "router", "lora"}
    assert "qformer/embeddings/word" not in load_file(trained.packs[1] / TENSORS_FILE)  # never trained


def test_training_goes_on_from_a_pack_as_from_its_run(trained: Trained, tmp_path: Path) -> None:
    """The pack names the base itself."""
    losses = []
    for name, origin in (("run", trained.runs[0]), ("pack", trained.packs[0])):
        output = run(
            *arguments(trained.folder, str(tmp_path / name), 2, f"--config.init_from={origin}", "--config.num_steps=5", "--config.weights=")
        )
        losses.append(numbers(output))
    assert losses[0] == losses[1] and [line["step"] for line in losses[1]] == [1, 2, 3, 4, 5]


def test_the_manifest_says_where_a_pack_comes_from(trained: Trained) -> None:
    manifest = read_manifest(trained.packs[1])
    assert (manifest.subject, manifest.step, manifest.config.init_from) == ("<Wilson>", 4, "")
    assert manifest.base_fingerprint == weights_fingerprint(trained.folder / "base")
    assert manifest.records[0].startswith("6 videos with 12 questions (sha256 ") and manifest.records[1:] == ("others",)
    assert {"jax", "flax"} <= read_manifest(trained.packs[0]).versions.keys()


def test_a_pack_on_another_base_is_refused(trained: Trained, tmp_path: Path) -> None:
    base = load_file(trained.folder / "base" / SAFETENSORS_FILE)
    base["project_up/kernel"][0, 0] += 1
    save_file(base, tmp_path / SAFETENSORS_FILE)
    with pytest.raises(UserError, match=rf"{trained.packs[0]} was trained on other base weights .* than {tmp_path}"):
        run(*arguments(trained.folder, str(tmp_path / "run"), 2, f"--config.init_from={trained.packs[0]}", f"--config.weights={tmp_path}"))


def test_a_run_does_not_go_on_with_another_pack(trained: Trained) -> None:
    config = read_manifest(trained.packs[1]).config
    earlier = ancestors(dataclasses.replace(config, init_from=str(trained.packs[1])), [7])
    with pytest.raises(UserError, match="is of step 4 and this run builds on step 7"):
        learned_by(earlier[0], str(trained.folder / "base"), {}, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(format_version=9), "has format"),
        (lambda values: values.pop("base_fingerprint"), "does not describe a pack"),
        (lambda values: values["config"].update(weights="/nowhere"), "/nowhere does not exist; put the path of yours at"),
    ],
)
def test_a_pack_that_cannot_be_used_says_why(trained: Trained, tmp_path: Path, change, message: str) -> None:
    values = json.loads((trained.packs[0] / MANIFEST_FILE).read_text())
    change(values)
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(values))
    with pytest.raises(UserError, match=message):
        load(tmp_path)


def test_exports_that_make_no_sense_are_refused_and_leave_nothing(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a pack already"):
        export(trained.packs[0], tmp_path / "pack")
    with pytest.raises(UserError, match="exists already"):
        export(trained.runs[0], trained.packs[0])
    with pytest.raises(UserError, match="holds no run"):
        export(tmp_path, tmp_path / "pack")
    assert not list(tmp_path.iterdir())


def test_fingerprints(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gives no fingerprint"):
        weights_fingerprint(tmp_path)
    (tmp_path / REPORT_FILE).write_text('{"fingerprint": "abc"}')
    assert weights_fingerprint(tmp_path) == "abc"
