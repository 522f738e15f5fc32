import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.choose import DIFFUSERS_GENERATORS, choose_generator
from pvchat_jax.synthesis.generators.loading import Placement, fingerprint, load_pipeline, noise_generators
from tests.synthesis.generators import tiny_pipelines

VACE = "WanVACEPipeline"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stored") / "vace"
    tiny_pipelines.wan_vace().save_pretrained(directory)
    return directory


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(stored, tmp_path / "vace"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    attempts: list[Any] = []

    def refuse(*arguments: Any) -> None:
        attempts.append(arguments[1:])
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not attempts


def load(directory: Path, **placement: Any) -> Any:
    return load_pipeline(directory, VACE, Placement(**placement), float32_vae=True)


def test_a_pipeline_comes_back_as_it_was_stored(stored: Path) -> None:
    expected, loaded = tiny_pipelines.wan_vace(), load(stored)
    for part in ("transformer", "vae", "text_encoder"):
        for name, tensor in getattr(expected, part).state_dict().items():
            torch.testing.assert_close(getattr(loaded, part).state_dict()[name], tensor, rtol=0, atol=0)


def test_the_vae_stays_in_float32_and_decodes_in_tiles(stored: Path) -> None:
    pipeline = load(stored, dtype="bfloat16", tile_vae=True)
    assert pipeline.transformer.dtype == pipeline.text_encoder.dtype == torch.bfloat16
    assert pipeline.vae.dtype == torch.float32 and pipeline.vae.use_tiling
    assert not load(stored).vae.use_tiling
    assert load_pipeline(stored, VACE, Placement(dtype="bfloat16"), float32_vae=False).vae.dtype == torch.bfloat16


def test_a_name_that_is_no_folder_is_not_looked_up_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for missing in (Path("Wan-AI/Wan2.1-VACE-1.3B-diffusers"), tmp_path / "absent"):
        with pytest.raises(UserError, match="is no folder"):
            load(missing)


def test_nothing_is_downloaded_once_a_pipeline_was_loaded(stored: Path, tmp_path: Path) -> None:
    load(stored)
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("Wan-AI/Wan2.1-VACE-1.3B-diffusers", "model_index.json", cache_dir=tmp_path)


def spoil_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def spoil_class(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "LTXPipeline"}))


def spoil_weights(folder: Path) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])


def leave_pickled_weights(folder: Path) -> None:
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.unlink()
    torch.save({}, folder / "transformer" / "diffusion_pytorch_model.bin")


SPOILERS = {
    r"model_index\.json is missing or broken": spoil_index,
    r"describes a LTXPipeline, but a WanVACEPipeline is needed": spoil_class,
    r"has no folder 'vae'": lambda folder: shutil.rmtree(folder / "vae"),
    r"carries Python code \(transformer/model\.py\)": lambda folder: (folder / "transformer" / "model.py").write_text("print()"),
    r"cannot be loaded .*; copy": spoil_weights,
    r"cannot be loaded .*safetensors": leave_pickled_weights,
}


@pytest.mark.parametrize("message", SPOILERS)
def test_a_spoilt_folder_is_explained_in_a_sentence(folder: Path, message: str) -> None:
    SPOILERS[message](folder)
    with pytest.raises(UserError, match=message) as raised:
        load(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


def test_a_device_that_is_not_there_is_explained(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="finds no GPU"):
        load(stored, device="cuda")
    with pytest.raises(UserError, match="there is none here"):
        load(stored, offload="model")


def test_a_missing_library_is_named_with_the_extra(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ftfy" else "found")
    with pytest.raises(UserError, match=r"need ftfy; .*pvchat_jax\[synthesis\]"):
        load(stored)


def test_the_fingerprint_tells_models_apart(folder: Path, stored: Path) -> None:
    assert fingerprint(folder) == fingerprint(stored)
    (weights,) = (folder / "transformer").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fingerprint(folder) != fingerprint(stored)


def test_the_fingerprint_sees_both_ends_of_large_files(tmp_path: Path) -> None:
    prints = set()
    for place in (None, 0, 5 << 19, -1):
        content = bytearray(5 << 20)
        if place is not None:
            content[place] = 1
        (tmp_path / "weights.safetensors").write_bytes(content)
        prints.add(fingerprint(tmp_path))
    assert len(prints) == 3  # the middle is not read


def test_noise_depends_on_the_seed_alone() -> None:
    one, several = noise_generators([7]), noise_generators([3, 7])
    torch.testing.assert_close(torch.randn(4, generator=one), torch.randn(4, generator=several[1]))


def test_a_generator_is_chosen_by_name(stored: Path, tmp_path: Path) -> None:
    generator = choose_generator("wan", stored, identities=tmp_path, placement=Placement(), batch_size=4)
    assert generator.origin == "t2v" and generator.name.startswith("wan (diffusers ")
    assert (generator.sampling.steps, generator.sampling.guidance, generator.sampling.batch_size) == (50, 5.0, 4)


@pytest.mark.parametrize("name", DIFFUSERS_GENERATORS)
def test_every_generator_says_what_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=str(tmp_path / "absent")):
        choose_generator(name, tmp_path / "absent", identities=tmp_path, placement=Placement())


def test_an_unknown_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose one of wan, "):
        choose_generator("sora", tmp_path, identities=tmp_path, placement=Placement())
