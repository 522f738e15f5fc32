"""A conversion is whole or absent, goes on after a kill, and describes itself."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict
from rich.console import Console
from safetensors.numpy import save_file

from converters import conversion
from converters.conversion import DTYPES, convert
from pvchat_jax.config.flags import from_dict
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import PVChatConfig
from pvchat_jax.training.weights import read_weights
from tests import golden_sets
from tests.converters.published_files import chat_checkpoint, qformer_file, save_shards, save_torch, vision_file

GOLDEN = golden_sets.load("A")
BFLOAT16 = DTYPES["bfloat16"]


def restored(directory: Path) -> dict[str, np.ndarray]:
    with ocp.PyTreeCheckpointer() as reader:
        return flatten_dict(reader.restore(directory), sep="/")


def assert_params(directory: Path, dtype: np.dtype, paths: set[str] | None = None) -> None:
    expected = flatten_dict(GOLDEN.params, sep="/")
    found = restored(directory)
    assert found.keys() == (paths or expected.keys())
    for path, value in found.items():
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, expected[path].astype(dtype), err_msg=path)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thirds of a small conversion's time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "original"
    folder.mkdir()
    save_file(GOLDEN.state_dict, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("one file", "float32"),
        ("shards", "bfloat16"),
        ("several", "bfloat16"),
        ("bin", "float32"),
        ("bin", "bfloat16"),
        ("file itself", "float32"),
    ],
)
def test_the_whole_model_from_every_kind_of_file(tmp_path: Path, kind: str, dtype: str) -> None:
    folder = tmp_path / "original"
    folder.mkdir()
    if kind == "shards":
        save_shards(GOLDEN.state_dict, folder)
    elif kind == "several":
        for root in ("lm.", ""):
            part = {key: value for key, value in GOLDEN.state_dict.items() if key.startswith("lm.") == (root == "lm.")}
            save_file(part, folder / f"{root or 'rest.'}safetensors")
    elif kind == "bin":
        save_torch(GOLDEN.state_dict, folder / "pytorch_model.bin")
    else:
        save_file(GOLDEN.state_dict, folder / "model.safetensors")
    convert([folder / "model.safetensors" if kind == "file itself" else folder], tmp_path / "weights", GOLDEN.config, dtype)
    assert_params(tmp_path / "weights", DTYPES[dtype])


def test_parts_from_their_own_files(tmp_path: Path) -> None:
    save_torch(vision_file(), tmp_path / "vision.pt", wrapper="module")
    save_file({key: np.ascontiguousarray(value) for key, value in qformer_file().items()}, tmp_path / "qformer.safetensors")
    converted = convert(
        [tmp_path / "vision.pt", tmp_path / "qformer.safetensors"], tmp_path / "weights", GOLDEN.config, "float32", ["vision", "qformer"]
    )
    written = {leaf.entry.path for leaf in converted.plan.leaves}
    assert_params(tmp_path / "weights", DTYPES["float32"], written)
    assert not converted.has_tokenizer


def test_weights_json_describes_every_tensor(tmp_path: Path) -> None:
    save_shards(chat_checkpoint(), tmp_path / "original")
    converted = convert([tmp_path / "original"], tmp_path / "weights", GOLDEN.config)
    summary = json.loads((tmp_path / "weights" / "weights.json").read_text())
    assert summary["format"] == "pvchat_jax weights" and summary["dtype"] == "bfloat16"
    assert from_dict(PVChatConfig, summary["model"]) == GOLDEN.config
    assert set(summary["sources"]) == {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert "subject_tokens" in summary["initialised"] and "project_down.weight" in summary["excused"]
    arrays = restored(tmp_path / "weights")
    assert summary["tensors"].keys() == arrays.keys()
    for path, array in arrays.items():
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        assert summary["tensors"][path] == {"shape": list(array.shape), "dtype": "bfloat16", "sha256": digest}
    lines = sorted(
        f"{path} {'x'.join(map(str, array.shape))} bfloat16 {summary['tensors'][path]['sha256']}" for path, array in arrays.items()
    )
    assert summary["fingerprint"] == converted.fingerprint == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_tokenizer_beside_the_language_model_comes_along(tmp_path: Path, source: Path) -> None:
    (source / "tokenizer.json").write_text("{}")
    (source / "config.json").write_text("{}")
    assert convert([source], tmp_path / "weights", GOLDEN.config).has_tokenizer
    assert [file.name for file in (tmp_path / "weights" / "tokenizer").iterdir()] == ["tokenizer.json"]
    assert_params(tmp_path / "weights", BFLOAT16)  # the folder more does not disturb Orbax


def test_a_tokenizer_that_is_a_link_elsewhere_is_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "secret").write_text("")
    (source / "tokenizer.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="is a link to"):
        convert([source], tmp_path / "weights", GOLDEN.config)


def test_nothing_is_written_when_something_does_not_fit(tmp_path: Path, source: Path) -> None:
    save_file({"surprise": np.ones(1, np.float32)}, source / "more.safetensors")
    with pytest.raises(UserError, match="'surprise'"):
        convert([source], tmp_path / "weights", GOLDEN.config)
    assert os.listdir(tmp_path) == ["original"]


def test_a_taken_destination_is_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "weights").mkdir()
    with pytest.raises(UserError, match="weights exists already"):
        convert([source], tmp_path / "weights", GOLDEN.config)


def test_a_disk_that_is_too_small_is_named_before_writing(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"0\.0 GB free"):
        convert([source], tmp_path / "weights", GOLDEN.config)
    assert not (tmp_path / "weights.partial").exists()


KILLED = """
import os, signal, sys
from converters import conversion, streaming
from tests import golden_sets
replace, left = os.replace, [int(sys.argv[3])]
def replace_or_die(*names):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
streaming.os.replace = replace_or_die
conversion.convert([sys.argv[1]], conversion.Path(sys.argv[2]), golden_sets.load("A").config)
"""


def test_a_killed_run_leaves_nothing_that_loads_and_is_continued(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = KILLED.replace("[sys.argv[1]]", "[conversion.Path(sys.argv[1])]")
    command = [sys.executable, "-c", program, str(source), str(tmp_path / "weights"), "400"]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    unfinished = tmp_path / "weights.partial"
    assert not (tmp_path / "weights").exists() and not (unfinished / "weights.json").exists()
    like = {"vision_norm/scale": jax.ShapeDtypeStruct((GOLDEN.config.vision.width,), np.float32)}
    with pytest.raises(UserError, match="holds no converted weights"):
        read_weights(unfinished, like, like)
    done = {
        file: file.stat().st_mtime_ns for file in unfinished.rglob("*") if file.is_file() and file.suffix != ".tmp" and file.name[0] != "."
    }
    assert len(done) > 100
    convert([source], tmp_path / "weights", GOLDEN.config)
    assert_params(tmp_path / "weights", BFLOAT16)
    again = [file for file, time in done.items() if file.name != "conversion.json" and _moved(file, tmp_path).stat().st_mtime_ns != time]
    assert not again
    convert([source], tmp_path / "afresh", GOLDEN.config)
    assert (tmp_path / "afresh" / "weights.json").read_bytes() == (tmp_path / "weights" / "weights.json").read_bytes()
    left = {file.relative_to(tmp_path / "weights") for file in (tmp_path / "weights").rglob("*")}
    assert left == {file.relative_to(tmp_path / "afresh") for file in (tmp_path / "afresh").rglob("*")}


def _moved(file: Path, folder: Path) -> Path:
    return folder / "weights" / file.relative_to(folder / "weights.partial")


def interrupt(monkeypatch: pytest.MonkeyPatch, source: Path, destination: Path, **settings) -> None:
    """Begins a conversion and stops it in the middle."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "write_tree_metadata", stop)
        with pytest.raises(KeyboardInterrupt):
            convert([source], destination, GOLDEN.config, **settings)


@pytest.mark.parametrize("change", ["dtype", "file", "damage"])
def test_another_conversion_does_not_go_on_from_it(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    interrupt(monkeypatch, source, tmp_path / "weights")
    if change == "file":
        os.utime(source / "model.safetensors", (1, 1))
    elif change == "damage":
        (tmp_path / "weights.partial" / "conversion.json").write_text("{")
    with pytest.raises(UserError, match=r"weights\.partial was begun with other files or settings"):
        convert([source], tmp_path / "weights", GOLDEN.config, "float32" if change == "dtype" else "bfloat16")
    assert not (tmp_path / "weights").exists()


def test_an_interruption_at_the_very_end_is_continued(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion.os, "rename", stop)
        with pytest.raises(KeyboardInterrupt):
            convert([source], tmp_path / "weights", GOLDEN.config)
    assert not (tmp_path / "weights").exists()
    convert([source], tmp_path / "weights", GOLDEN.config)
    assert_params(tmp_path / "weights", BFLOAT16)


def test_progress_has_bytes_rate_and_time_left(tmp_path: Path, source: Path) -> None:
    console = Console(force_terminal=True, width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    convert([source], tmp_path / "weights", GOLDEN.config, console=console)
    shown = console.export_text()
    assert "MB" in shown and "/s" in shown and "0:00:00" in shown and str(tmp_path / "weights") in shown.replace("\n", "")


def test_progress_without_a_terminal_is_a_line_now_and_then(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.byte_progress.SECONDS_BETWEEN_LINES", 0.0)
    with open(tmp_path / "log", "w") as log:
        convert([source], tmp_path / "weights", GOLDEN.config, console=Console(file=log, width=200))
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines and all("MB/s" in line or "kB/s" in line or "bytes/s" in line for line in lines) and "s left" in lines[0]
