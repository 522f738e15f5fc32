"""Every published form of the weights becomes the same parameters, and what does not fit is named before anything is written."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from converters.key_forms import halves_from_neighbours, table_key
from converters.plan import COMBINED, Plan, make_plan, parameter_shapes, tensor_shapes
from converters.state_dict_mapping import entries
from converters.tensor_files import StoredTensor
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import EIGHT_B, PVChatConfig
from pvchat_jax.models.positions import apply_rotary, rotary_angles
from tests import golden_sets
from tests.converters.published_files import MISTRAL, StateDict, chat_checkpoint, qformer_file, vision_file

GOLDEN = golden_sets.load("A")
SAFETENSORS_NAMES = {"float32": "F32", "int64": "I64"}


def stored(state_dict: StateDict, file: str = "model.safetensors") -> list[StoredTensor]:
    return [
        StoredTensor(key, value.shape, SAFETENSORS_NAMES[value.dtype.name], Path(file), lambda value=value: value)
        for key, value in state_dict.items()
    ]


def values(plan: Plan) -> dict[str, np.ndarray]:
    """What a conversion would write, by path."""
    found = {}
    for leaf in plan.leaves:
        slices = [read() for read in leaf.slices(plan.config)]
        found[leaf.entry.path] = np.stack(slices) if leaf.entry.stacked else slices[0]
        assert found[leaf.entry.path].shape == leaf.shape
    return found


def golden_value(path: str) -> np.ndarray:
    node = GOLDEN.params
    for name in path.split("/"):
        node = node[name]
    return node


def assert_as_in_the_golden(plan: Plan, *, besides: tuple[str, ...] = ()) -> None:
    for path, value in values(plan).items():
        if path not in besides:
            np.testing.assert_array_equal(value, golden_value(path), err_msg=path)


def refused(tensors: list[StoredTensor], config: PVChatConfig = GOLDEN.config, parts: tuple[str, ...] = (COMBINED,)) -> str:
    with pytest.raises(UserError) as caught:
        make_plan(tensors, config, parts)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("newer_peft", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pvchat_state_dict(newer_peft: bool, prefix: str) -> None:
    state_dict = {prefix + key: value for key, value in GOLDEN.state_dict.items()}
    if newer_peft:
        state_dict = {re.sub(r"(lm\..*_proj)\.weight$", r"\1.base_layer.weight", key): value for key, value in state_dict.items()}
        assert f"{prefix}{MISTRAL}model.layers.0.mlp.up_proj.base_layer.weight" in state_dict
    plan = make_plan(stored(state_dict), GOLDEN.config)
    assert_as_in_the_golden(plan)
    assert len(plan.leaves) == len(parameter_shapes(GOLDEN.config)) and not plan.initialised and not plan.changed
    assert f"{prefix}lm.lm_head.weight" in plan.excused and f"{prefix}project_down.bias" in plan.excused


def test_the_combined_checkpoint_leaves_to_training_what_training_creates() -> None:
    plan = make_plan(stored(chat_checkpoint()), GOLDEN.config)
    assert_as_in_the_golden(plan)
    routers = 3 * len(GOLDEN.config.qformer.routed_modules)
    names = ("subject_tokens", "language_model/added_embedding", "language_model/added_head")
    assert set(names) < set(plan.initialised) and len(plan.initialised) == routers + len(names)
    head = f"{MISTRAL}lm_head.lora_A.default.weight"
    assert "the original loses" in plan.excused[head]  # in a configuration whose head has no adapter, as the golden's


def test_the_heads_adapter_is_kept_where_the_configuration_has_one() -> None:
    lora = dataclasses.replace(GOLDEN.config.language_model.lora, targets=EIGHT_B.language_model.lora.targets)
    config = dataclasses.replace(GOLDEN.config, language_model=dataclasses.replace(GOLDEN.config.language_model, lora=lora))
    state_dict = chat_checkpoint()
    written = values(make_plan(stored(state_dict), config))
    np.testing.assert_array_equal(written["language_model/lm_head/lora_b"], state_dict[f"{MISTRAL}lm_head.lora_B.default.weight"].T)


@pytest.mark.parametrize("prefix", ["vision_encoder.", ""])
def test_a_file_of_the_video_encoder(prefix: str) -> None:
    plan = make_plan(stored(vision_file(prefix=prefix)), GOLDEN.config, ["vision"])
    assert_as_in_the_golden(plan)
    assert {leaf.entry.path for leaf in plan.leaves} == {
        name for name in parameter_shapes(GOLDEN.config) if name.startswith("vision_encoder/")
    }
    assert "above the one" in plan.excused[f"{prefix}blocks.3.ls1.gamma"]
    assert "vision_norm/scale" in plan.initialised and "project_up/kernel" in plan.initialised


@pytest.mark.parametrize("frames", [2, 8])
def test_a_position_table_of_other_frames_is_interpolated_as_in_the_original(frames: int) -> None:
    torch = pytest.importorskip("torch")
    state_dict = vision_file()
    grid, width = GOLDEN.config.vision.grid_size, GOLDEN.config.vision.width
    table = np.random.default_rng(0).normal(size=(1, 1 + frames * grid**2, width)).astype(np.float32)
    plan = make_plan(stored(state_dict | {"vision_encoder.pos_embed": table}), GOLDEN.config, ["vision"])
    assert plan.changed == {"vision_encoder.pos_embed": "interpolated in time to the configured number of frames"}
    tokens = torch.from_numpy(table[:, 1:]).view(1, frames, -1, width).permute(0, 2, 3, 1).reshape(-1, width, frames)
    tokens = torch.nn.functional.interpolate(tokens, size=GOLDEN.config.vision.num_frames, mode="linear")
    expected = tokens.view(-1, width, GOLDEN.config.vision.num_frames).permute(2, 0, 1).reshape(1, -1, width)
    written = values(plan)["vision_encoder/pos_embed"]
    np.testing.assert_array_equal(written[:, :1], table[:, :1])
    np.testing.assert_allclose(written[:, 1:], expected.numpy(), atol=1e-6)


def test_an_encoder_trained_on_video_alone_gets_its_image_table_from_the_video_table() -> None:
    """docs/reference.md, section 1: without a table of its own, an image has the mean over the frames, the class token's row kept."""
    state_dict = {key: value for key, value in vision_file(prefix="").items() if key != "img_pos_embed"}
    plan = make_plan(stored(state_dict | {"fc_norm.weight": np.ones(3, np.float32)}), GOLDEN.config, ["vision"])
    assert plan.changed == {"vision_encoder.img_pos_embed": "not in the files, so the mean of pos_embed over the frames"}
    assert "classes of actions" in plan.excused["fc_norm.weight"]
    table, vision = state_dict["pos_embed"], GOLDEN.config.vision
    mean = np.mean([table[:, 1 + start :][:, : vision.grid_size**2] for start in range(0, table.shape[1] - 1, vision.grid_size**2)], axis=0)
    written = values(plan)["vision_encoder/img_pos_embed"]
    np.testing.assert_array_equal(written[:, 0], table[:, 0])
    np.testing.assert_allclose(written[:, 1:], mean, atol=1e-6)
    assert_as_in_the_golden(plan, besides=("vision_encoder/img_pos_embed",))
    combined = {key: value for key, value in GOLDEN.state_dict.items() if key != "vision_encoder.img_pos_embed"}
    assert "1 tensors are missing ('vision_encoder.img_pos_embed')" in refused(stored(combined))


def test_layer_scales_under_their_third_name() -> None:
    state_dict = {key.replace(".gamma", ".weight"): value for key, value in vision_file().items()}
    assert "vision_encoder.blocks.0.ls1.weight" in state_dict
    assert_as_in_the_golden(make_plan(stored(state_dict), GOLDEN.config, ["vision"]))


@pytest.mark.parametrize("root", ["Qformer.", "qformer.", ""])
def test_a_file_of_the_qformer(root: str) -> None:
    plan = make_plan(stored(qformer_file(root=root)), GOLDEN.config, ["qformer"])
    assert_as_in_the_golden(plan)
    assert {"project_up/kernel", "extra_query_tokens", "subject_tokens", "vision_encoder/pos_embed"} < set(plan.initialised)
    assert {"visual_encoder.cls_token", "Qformer.cls.predictions.bias", "temp"} < plan.excused.keys()


def test_a_qformer_without_its_text_side() -> None:
    """Stage 2 of BLIP-2 (LAVIS blip2_opt.py) sets these to None."""
    text_side = re.compile(r".*\.(embeddings\.(word|position)_embeddings|layer\.\d+\.(intermediate|output))\..*|.*position_ids")
    state_dict = {key: value for key, value in qformer_file().items() if not text_side.fullmatch(key)}
    plan = make_plan(stored(state_dict), GOLDEN.config, ["qformer"])
    assert_as_in_the_golden(plan)
    assert {"qformer/embeddings/word", "qformer/layer_0/text_ffn/output/norm/scale"} < set(plan.initialised)
    combined = {key: value for key, value in GOLDEN.state_dict.items() if not text_side.fullmatch(key)}
    assert "are missing ('qformer.bert.embeddings.word_embeddings.weight'" in refused(stored(combined))


def test_parts_together_with_a_tensor_that_two_of_them_have_and_nobody_needs() -> None:
    tensors = stored(vision_file(), "vision.safetensors") + stored(qformer_file(), "qformer.safetensors")
    assert_as_in_the_golden(make_plan(tensors, GOLDEN.config, ["vision", "qformer"]))


def test_one_part_of_the_combined_checkpoint() -> None:
    plan = make_plan(stored(chat_checkpoint()), GOLDEN.config, ["vision"])
    assert all(leaf.entry.path.startswith("vision_encoder/") for leaf in plan.leaves)
    assert plan.excused["query_tokens"] == "of a part that --part leaves out"


def mistral_file(own_names: bool) -> StateDict:
    """The golden's Mistral as transformers names it (checked against transformers), or as Mistral does."""
    torch = pytest.importorskip("torch")
    from transformers import MistralConfig, MistralForCausalLM

    size = GOLDEN.config.language_model
    config = MistralConfig(
        vocab_size=size.vocab_size,
        hidden_size=size.width,
        intermediate_size=size.mlp_width,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_kv_heads,
        head_dim=size.head_dim,
    )
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in MistralForCausalLM(config).state_dict().items()}
    golden = {key.removeprefix(MISTRAL): value for key, value in GOLDEN.state_dict.items() if key.startswith(MISTRAL)}
    found = {key: golden[key][: shape[0]] for key, shape in shapes.items()}
    assert {key: value.shape for key, value in found.items()} == shapes
    return {_own_name(key): _own_order(key, value) for key, value in found.items()} if own_names else found


def _own_name(key: str) -> str:
    """mistral_inference/transformer.py and transformer_layers.py: the names of their modules."""
    names = {
        "model.embed_tokens": "tok_embeddings",
        "lm_head": "output",
        "model.norm": "norm",
        "model.layers": "layers",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attention.wq",
        "self_attn.k_proj": "attention.wk",
        "self_attn.v_proj": "attention.wv",
        "self_attn.o_proj": "attention.wo",
        "mlp.gate_proj": "feed_forward.w1",
        "mlp.down_proj": "feed_forward.w2",
        "mlp.up_proj": "feed_forward.w3",
    }
    for theirs, own in names.items():
        key = key.replace(theirs, own)
    return key


def _own_order(key: str, value: np.ndarray) -> np.ndarray:
    size = GOLDEN.config.language_model
    heads = {"q_proj": size.num_heads, "k_proj": size.num_kv_heads}
    count = next((count for name, count in heads.items() if name in key), None)
    return value if count is None else value.reshape(count, 2, -1, value.shape[-1]).swapaxes(1, 2).reshape(value.shape)


@pytest.mark.parametrize("own_names", [False, True])
def test_mistral_under_both_of_its_names(own_names: bool) -> None:
    state_dict = mistral_file(own_names)
    assert ("layers.0.attention.wq.weight" in state_dict) == own_names
    plan = make_plan(stored(state_dict), GOLDEN.config, ["language_model"])
    assert_as_in_the_golden(plan)
    assert not plan.excused
    left = {path for path in plan.initialised if path.startswith("language_model/")}
    assert left and all("lora" in path or "added" in path for path in left)


def test_mistrals_own_rotation_gives_the_attention_of_ours() -> None:
    """mistral_inference/rope.py multiplies neighbouring channels as complex numbers; ours pairs the halves of a head."""
    heads, dim, width, length, theta = 3, 8, 5, 6, 1e6
    random = np.random.default_rng(0)
    weights = [random.normal(size=(heads * dim, width)).astype(np.float32) for _ in range(2)]
    x = random.normal(size=(length, width)).astype(np.float32)
    turns = np.exp(1j * np.outer(np.arange(length), theta ** (-np.arange(0, dim, 2) / dim)))[:, None]
    query, key = (
        np.ascontiguousarray(x @ weight.T).astype(np.float64).view(np.complex128).reshape(length, heads, -1) * turns for weight in weights
    )
    expected = np.einsum("qhd,khd->hqk", query, key.conj()).real
    cosines, sines = rotary_angles(np.arange(length)[None], dim, theta)
    ours = [(x @ halves_from_neighbours(weight, heads).T).reshape(1, length, heads, dim) for weight in weights]
    query, key = (np.asarray(apply_rotary(projected, cosines, sines))[0] for projected in ours)
    np.testing.assert_allclose(np.einsum("qhd,khd->hqk", query, key), expected, rtol=1e-4, atol=1e-4)


def test_missing_and_unknown_tensors_are_all_listed() -> None:
    damaged = {key: value for key, value in GOLDEN.state_dict.items() if "attn.q_norm" not in key and key != "query_tokens"}
    message = refused(stored(damaged | {"surprise": np.ones(1, np.float32)}))
    assert "4 tensors are missing" in message and "1 are of no known use ('surprise')" in message
    assert "'query_tokens'" in message and "vision_encoder.blocks.2.attn.q_norm.weight" in message


def test_many_layers_are_listed_as_one() -> None:
    keys = {f"{MISTRAL}model.layers.{layer}.surprise": np.ones(1, np.float32) for layer in range(30)}
    assert f"(30 times '{MISTRAL}model.layers.*.surprise')" in refused(stored(GOLDEN.state_dict | keys))


def test_lora_that_only_some_layers_have_is_missing_not_new() -> None:
    key = f"{MISTRAL}model.layers.1.mlp.up_proj.lora_B.default.weight"
    damaged = {name: value for name, value in GOLDEN.state_dict.items() if name != key}
    assert f"1 tensors are missing ('{key}')" in refused(stored(damaged))


def test_wrong_shapes_name_both_sides() -> None:
    shape = GOLDEN.config.vision.width
    damaged = GOLDEN.state_dict | {"vision_layernorm.weight": np.ones(3, np.float32)}
    message = refused(stored(damaged))
    assert f"'vision_layernorm.weight' of model.safetensors is (3,), and vision_norm/scale needs ({shape},)" in message


def test_a_vocabulary_of_another_size_names_both_that_would_do() -> None:
    key, width = f"{MISTRAL}lm_head.weight", GOLDEN.config.language_model.width
    rows = GOLDEN.config.language_model.vocab_size
    message = refused(stored(GOLDEN.state_dict | {key: np.ones((rows + 7, width), np.float32)}))
    assert f"needs ({rows}, {width}) or ({rows + 1}, {width})" in message


def test_a_tensor_of_integers_is_refused() -> None:
    damaged = GOLDEN.state_dict | {"vision_layernorm.weight": np.ones(GOLDEN.config.vision.width, np.int64)}
    assert "'vision_layernorm.weight' of model.safetensors has the dtype I64" in refused(stored(damaged))


def test_an_absurd_size_is_refused_without_reading() -> None:
    def read() -> np.ndarray:
        raise AssertionError("was read")

    huge = StoredTensor("vision_layernorm.weight", (2**40, 2**20), "F32", Path("model.bin"), read)
    assert "vision_norm/scale needs" in refused([huge, *(tensor for tensor in stored(GOLDEN.state_dict) if tensor.key != huge.key)])


def test_two_tensors_for_one_parameter_are_refused_with_both_files() -> None:
    both = stored(GOLDEN.state_dict) + stored(mistral_file(own_names=False), "mistral.safetensors")
    message = refused(both)
    assert "model.safetensors" in message and "mistral.safetensors" in message and "same parameter" in message


def test_every_name_of_the_8b_table_is_its_own() -> None:
    """No rule for other names changes a name of the table."""
    keys = {key for entry in entries(EIGHT_B) for key in entry.keys}
    assert {table_key(key)[0] for key in keys} == keys and all(table_key(key)[0] == key for key in keys)


def test_shapes_of_the_8b_tensors() -> None:
    shapes = tensor_shapes(entries(EIGHT_B), parameter_shapes(EIGHT_B))
    assert shapes[f"{MISTRAL}lm_head.weight"] == ((32768, 4096), (32769, 4096))
    assert shapes["vision_encoder.patch_embed.proj.weight"] == ((1408, 3, 1, 14, 14),)
    assert shapes[f"{MISTRAL}model.layers.31.mlp.down_proj.weight"] == ((4096, 14336),)
