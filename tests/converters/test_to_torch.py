"""Exported models, loaded by `torch`, `transformers` and `peft` themselves: same keys, same numbers."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import jax
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from rich.console import Console
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from converters import hugging_face, to_torch
from converters.original_model import original_state_dict
from converters.shards import cast, write_shards
from converters.state_dict_mapping import params_from_state_dict
from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import LORA_TARGETS
from pvchat_jax.models.mistral import Mistral
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.sharding import make_mesh
from pvchat_jax.training.initialise import LoadedRun, load_run
from tests import golden_sets
from tests.converters.finished_run import tiny_model, write_run
from tests.golden_sets import assert_close

torch, peft, transformers = (pytest.importorskip(name) for name in ("torch", "peft", "transformers"))

CONSOLE = Console(quiet=True)
# `project_down` and the added rows of a head that nothing calls: the original never uses them, so we do not keep them.
NOT_KEPT = ("project_down.weight", "project_down.bias")
UNUSED_HEAD = "lm.lm_head.weight"


class Exported:
    """A loaded run, which is not loaded again for each form that it is exported in, always in float32."""

    def __init__(self, directory: Path, loaded: LoadedRun) -> None:
        self.directory, self.loaded, self.config = directory, loaded, loaded.config

    def to(self, form: str, **options) -> Path:
        destination = self.directory / form
        if not destination.exists():
            with mock.patch.object(to_torch, "load_run", lambda *_, **__: self.loaded):
                to_torch.export(self.directory / "run", form, destination, dtype="float32", console=CONSOLE, **options)
        return destination

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """Two rows of tokens with the subject's name in them."""
        ids = np.random.default_rng(0).integers(0, self.loaded.tokenizer.vocab_size, (2, 9))
        ids[:, 4] = self.loaded.tokenizer.name_token_id
        return ids

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """Of our language model at `ids`: float[R, S, V]."""
        model = Mistral(self.config.model.language_model, remat_policy="none")

        @jax.jit
        def run(params: dict) -> jax.Array:
            return model.apply(params, model.apply(params, self.ids, method="embed"), np.ones(self.ids.shape, bool))

        return np.asarray(run({"params": self.loaded.params["language_model"]}))


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("adapted_head") / "run"
    write_run(directory, tiny_model())
    return directory


@pytest.fixture(scope="module")
def adapted_head(run_directory: Path) -> Exported:
    mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
    return Exported(run_directory.parent, load_run(run_directory, mesh))


@pytest.fixture(scope="module")
def plain_head(adapted_head: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same without the adapter of the head."""
    loaded = adapted_head.loaded
    config = dataclasses.replace(loaded.config, model=tiny_model(targets=LORA_TARGETS[:-1]))
    kept = {path: value for path, value in flatten_dict(loaded.params).items() if "lm_head" not in path or "lora" not in path[-1]}
    return Exported(tmp_path_factory.mktemp("plain_head"), loaded._replace(config=config, params=unflatten_dict(kept)))


@pytest.fixture(scope="module", params=["adapted_head", "plain_head"])
def exported(request: pytest.FixtureRequest) -> Exported:
    return request.getfixturevalue(request.param)


def _torch_logits(model, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(torch.tensor(ids)).logits.numpy()


def _skeleton(shapes: Mapping[str, np.ndarray]):
    """A module with parameters and buffers of these names, shapes and dtypes."""
    root = torch.nn.Module()
    for key, value in shapes.items():
        *parents, name = key.split(".")
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, torch.nn.Module())
            module = getattr(module, parent)
        empty = torch.zeros(value.shape, dtype=torch.int64 if value.dtype == np.int64 else torch.float32)
        if value.dtype == np.int64:
            module.register_buffer(name, empty)
        else:
            module.register_parameter(name, torch.nn.Parameter(empty))
    return root


def _read_shards(directory: Path, load: Callable[[Path], dict] = load_file) -> dict:
    tensors: dict = {}
    for shard in sorted(directory.glob("*.safetensors")):
        tensors |= load(shard)
    return tensors


def _write(directory: Path, tensors: dict[str, np.ndarray], dtype: type, **options) -> Path:
    directory.mkdir()
    write_shards(directory, cast(tensors.items(), np.dtype(dtype)), total_bytes=1, console=CONSOLE, **options)
    return directory


@pytest.mark.parametrize("name", golden_sets.NAMES)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_reference_to_ours_to_reference(name: str, dtype: type, tmp_path: Path) -> None:
    golden = golden_sets.load(name)
    reference = dict(cast(golden.state_dict.items(), np.dtype(dtype)))
    params, _ = params_from_state_dict(reference, golden.config)
    directory = _write(tmp_path / "full", original_state_dict(params, golden.config), dtype, shard_bytes=100_000)
    back = _read_shards(directory)
    assert back.keys() == reference.keys()
    for key, value in reference.items():
        assert (back[key].shape, back[key].dtype) == (value.shape, value.dtype), key
        rows = slice(golden.config.language_model.vocab_size) if key == UNUSED_HEAD else slice(None)
        if key in NOT_KEPT:
            assert not back[key].any()
        else:
            assert back[key][rows].tobytes() == value[rows].tobytes(), key
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == reference.keys() and len(set(index["weight_map"].values())) > 3
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in reference.values())
    if dtype == np.float32:
        from safetensors.torch import load_file as load_torch_file

        _skeleton(reference).load_state_dict(_read_shards(directory, load_torch_file), strict=True)


def test_the_full_export_computes_in_the_original_what_ours_computes(adapted_head: Exported) -> None:
    """Without our factor on the mixing weights, and without an adapter on the head."""
    model = adapted_head.config.model
    assert model.qformer.remoh.mixing_scale == 2 and model.language_model.lora.rank_of("lm_head")
    originals = dataclasses.replace(
        model,
        qformer=dataclasses.replace(model.qformer, remoh=dataclasses.replace(model.qformer.remoh, init="reference")),
        language_model=tiny_model(targets=LORA_TARGETS[:-1]).language_model,
    )
    tensors = _read_shards(adapted_head.to("full", peft_names="new"))
    assert not any("lm_head.lora" in key for key in tensors)
    params, absent = params_from_state_dict(tensors, originals)
    assert not absent

    rng = np.random.default_rng(0)
    vision, visual = model.vision, model.qformer.num_visual_tokens
    # the encoder has no part in the rewriting
    features = rng.normal(size=(1, 1, 1 + vision.num_temporal_positions * vision.grid_size**2, vision.width)).astype(np.float32)
    ids = rng.integers(0, model.language_model.total_vocab_size, (1, 1, visual + 6))
    rows = (ids, np.ones_like(ids), np.arange(visual + 6)[None, None] < visual)
    ours = jax.jit(build_pvchat(model).apply)({"params": adapted_head.loaded.params}, None, *rows, features=features).logits
    theirs = jax.jit(build_pvchat(originals).apply)({"params": params}, None, *rows, features=features).logits
    assert_close(theirs, np.asarray(ours))
    for key, value in flatten_dict(params["vision_encoder"]).items():
        np.testing.assert_array_equal(value, flatten_dict(adapted_head.loaded.params["vision_encoder"])[key], err_msg=str(key))


def test_both_peft_namings_hold_the_same_tensors(adapted_head: Exported) -> None:
    new = _read_shards(adapted_head.to("full", peft_names="new"))
    old = original_state_dict(adapted_head.loaded.params, adapted_head.config.model)
    renamed = {key.replace(".base_layer.", "."): value for key, value in new.items()}
    assert old.keys() == renamed.keys() and old.keys() != new.keys()
    for key, value in old.items():
        np.testing.assert_array_equal(renamed[key], value, err_msg=key)


def test_transformers_loads_the_merged_model(exported: Exported) -> None:
    directory = exported.to("merged")
    model, report = transformers.MistralForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not any(report.values()), report
    assert_close(_torch_logits(model, exported.ids), exported.logits)
    config = json.loads((directory / "config.json").read_text())
    assert config["rope_theta"] == exported.config.model.language_model.rope_theta  # where transformers 4 looks


def test_the_merged_model_is_bfloat16_by_default(run_directory: Path, tmp_path: Path) -> None:
    to_torch.export(run_directory, "merged", tmp_path / "merged", console=CONSOLE)
    assert transformers.MistralForCausalLM.from_pretrained(tmp_path / "merged").dtype == torch.bfloat16


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_the_tokenizer_has_the_name_as_one_token(adapted_head: Exported, form: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(adapted_head.to(form))
    ours = adapted_head.loaded.tokenizer
    text = "What does <Wilson> wear?"
    assert tokenizer.encode(text, add_special_tokens=False) == ours.encode(text, add_bos=False)
    assert len(tokenizer) == ours.total_vocab_size


def test_peft_loads_the_adapter_on_the_base(exported: Exported) -> None:
    base = _base_model(exported)
    torch.manual_seed(0)
    base.resize_token_embeddings(len(AutoTokenizer.from_pretrained(exported.to("adapter"))))
    model = peft.PeftModel.from_pretrained(base, exported.to("adapter"))
    assert_close(_torch_logits(model, exported.ids), exported.logits)
    with model.disable_adapter():
        assert np.abs(_torch_logits(model, exported.ids) - exported.logits).max() > 1e-2


def _base_model(exported: Exported):
    """The language model as it was before anything was learned."""
    model = exported.config.model
    plain = dataclasses.replace(model.language_model, num_added_tokens=0, lora=dataclasses.replace(model.language_model.lora, rank=0))
    flat = flatten_dict(exported.loaded.params["language_model"])
    kept = {path: value for path, value in flat.items() if path[-1] not in ("lora_a", "lora_b", "added_embedding", "added_head")}
    tensors = hugging_face.merged_tensors(unflatten_dict(kept), dataclasses.replace(model, language_model=plain))
    config = hugging_face.mistral_json(plain, bos_id=1, eos_id=2, dtype="float32")
    base = transformers.MistralForCausalLM(transformers.MistralConfig.from_dict(config))
    base.load_state_dict({key: torch.tensor(np.array(value)) for key, value in tensors}, strict=True)
    return base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ("q_proj", "lm_head")}, "has no adapter on k_proj, v_proj"),
        ({"alpha": 32.0}, "scales its adapters by 1 and the original by 2"),
        ({"router": "softmax"}, "has softmax routers"),
    ],
)
def test_what_the_original_cannot_compute_is_refused(change: dict, message: str) -> None:
    model = tiny_model(**{name: value for name, value in change.items() if name != "router"})
    if "router" in change:
        routed = dataclasses.replace(model.qformer, remoh=dataclasses.replace(model.qformer.remoh, router="softmax"))
        model = dataclasses.replace(model, qformer=routed)
    with pytest.raises(UserError, match=message):
        original_state_dict({}, model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run={folder}", "--to=full", "--dst={folder}/new"], "holds no run"),
        (["--run={folder}", "--to=full", "--dst={folder}"], "exists already"),
        (["--run={folder}", "--to=pack", "--dst={folder}/new", "--dtype=float32"], "a pack keeps its numbers"),
        (["--run={folder}", "--to=merged", "--dst={folder}/new", "--peft-names=new"], "--peft-names is for --to full"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as status:
        to_torch.main([argument.format(folder=tmp_path) for argument in arguments])
    assert status.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
