"""The mapping table against the original's key list, at the 8B sizes and on the goldens' weights."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from converters.state_dict_mapping import EXCUSED_KEYS, Entry, entries, params_from_state_dict
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import EIGHT_B, PVChatConfig
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from tests import golden_sets

D, M, F, G, P = 1408, 6144, 8, 16, 14
Q, INNER, R, H, V, RANK = 768, 3072, 4, 4096, 32769, 16
Shapes = dict[str, tuple[int, ...]]


def _linear(prefix: str, outputs: int, inputs: int) -> Shapes:
    return {f"{prefix}.weight": (outputs, inputs), f"{prefix}.bias": (outputs,)}


def _norm(prefix: str, width: int) -> Shapes:
    return {f"{prefix}.weight": (width,), f"{prefix}.bias": (width,)}


def _vision_keys() -> Shapes:
    root = "vision_encoder"
    keys: Shapes = {
        f"{root}.cls_token": (1, 1, D),
        f"{root}.pos_embed": (1, 1 + F * G * G, D),
        f"{root}.img_pos_embed": (1, 1 + G * G, D),
        f"{root}.patch_embed.proj.weight": (D, 3, 1, P, P),
        f"{root}.patch_embed.proj.bias": (D,),
    }
    for layer in range(39):
        block = f"{root}.blocks.{layer}"
        keys |= {
            f"{block}.{name}": (D,) for name in ("norm1.weight", "norm2.weight", "ls1", "ls2", "attn.q_norm.weight", "attn.k_norm.weight")
        }
        keys |= {f"{block}.attn.qkv.weight": (3 * D, D), **_linear(f"{block}.attn.proj", D, D)}
        keys |= {**_linear(f"{block}.mlp.fc1", M, D), **_linear(f"{block}.mlp.fc2", D, M)}
    return keys | _norm("vision_layernorm", D)


def _qformer_keys() -> Shapes:
    embeddings = "qformer.bert.embeddings"
    keys: Shapes = {
        f"{embeddings}.word_embeddings.weight": (30523, Q),
        f"{embeddings}.position_embeddings.weight": (512, Q),
        f"{embeddings}.position_ids": (1, 512),
        **_norm(f"{embeddings}.LayerNorm", Q),
    }
    for index in range(12):
        layer = f"qformer.bert.encoder.layer.{index}"
        for attention in ("attention", "crossattention")[: 2 - index % 2]:
            source = D if attention == "crossattention" else Q
            own = f"{layer}.{attention}.self"
            keys |= {**_linear(f"{own}.query", Q, Q), **_linear(f"{own}.key", Q, source), **_linear(f"{own}.value", Q, source)}
            keys |= {**_linear(f"{layer}.{attention}.output.dense", Q, Q), **_norm(f"{layer}.{attention}.output.LayerNorm", Q)}
            if index >= 6:
                keys |= {**_linear(f"{own}.router_alpha.router", R, Q), f"{own}.router_alpha.alpha_proj.weight": (2, Q)}
        for suffix in ("", "_query"):
            keys |= _linear(f"{layer}.intermediate{suffix}.dense", INNER, Q)
            keys |= {**_linear(f"{layer}.output{suffix}.dense", Q, INNER), **_norm(f"{layer}.output{suffix}.LayerNorm", Q)}
    return keys


def _language_model_keys() -> Shapes:
    root = "lm.base_model.model"
    keys: Shapes = {f"{root}.model.embed_tokens.weight": (V, H), f"{root}.lm_head.weight": (V, H), "lm.lm_head.weight": (V, H)}
    keys[f"{root}.model.norm.weight"] = (H,)
    projections = {
        "self_attn.q_proj": (4096, H),
        "self_attn.k_proj": (1024, H),
        "self_attn.v_proj": (1024, H),
        "self_attn.o_proj": (H, 4096),
        "mlp.gate_proj": (14336, H),
        "mlp.up_proj": (14336, H),
        "mlp.down_proj": (H, 14336),
    }
    for index in range(32):
        layer = f"{root}.model.layers.{index}"
        keys |= {f"{layer}.{norm}.weight": (H,) for norm in ("input_layernorm", "post_attention_layernorm")}
        for name, (outputs, inputs) in projections.items():
            keys[f"{layer}.{name}.weight"] = (outputs, inputs)
            keys[f"{layer}.{name}.lora_A.default.weight"] = (RANK, inputs)
            keys[f"{layer}.{name}.lora_B.default.weight"] = (outputs, RANK)
    return keys


def published_keys() -> Shapes:
    """docs/reference.md's key table at the real model's sizes."""
    tokens: Shapes = {"query_tokens": (1, 32, Q), "extra_query_tokens": (1, 64, Q), "personal_query_tokens": (1, 16, Q)}
    bridge = {**_linear("project_up", H, Q), **_linear("project_down", Q, H)}
    return tokens | _vision_keys() | _qformer_keys() | bridge | _language_model_keys()


def _shapes_of(config: PVChatConfig) -> dict:
    """Shapes of every parameter by path; nothing is allocated."""
    model = build_pvchat(config)
    tree = nn.unbox(jax.eval_shape(functools.partial(init_boxed, model, config), jax.random.key(0)))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _torch_shapes(entry: Entry, leaf: jax.ShapeDtypeStruct) -> Shapes:
    return {key: value.shape for key, value in jax.eval_shape(entry.to_torch, leaf).items()}


def test_8b_shapes_equal_the_published_ones_entry_by_entry() -> None:
    ours = _shapes_of(EIGHT_B)
    table = entries(EIGHT_B)
    assert {entry.path for entry in table} == ours.keys() and len(table) == len(ours)
    shapes: Shapes = {}
    for entry in table:
        for key, shape in _torch_shapes(entry, ours[entry.path]).items():
            rows = shapes[key][0] if key in shapes else 0  # two paths share the vocabulary's rows
            shapes[key] = (rows + shape[0], *shape[1:])
    head_adapter = {key for key in shapes if key.startswith("lm.base_model.model.lm_head.lora_")}
    assert len(head_adapter) == 2  # ours trains it, the original loses it
    published = published_keys()
    assert shapes.keys() - head_adapter == published.keys() - EXCUSED_KEYS.keys()
    for key in shapes.keys() - head_adapter:
        assert shapes[key] == published[key], key


@pytest.mark.parametrize("name", golden_sets.NAMES)
def test_every_tensor_survives_both_directions(name: str) -> None:
    golden = golden_sets.load(name)
    back: dict[str, np.ndarray] = {}
    for entry in entries(golden.config):
        value = functools.reduce(dict.__getitem__, entry.path.split("/"), golden.params)
        for key, tensor in entry.to_torch(value).items():
            back[key] = np.concatenate([back[key], tensor]) if key in back else tensor
    assert back.keys() == golden.state_dict.keys() - EXCUSED_KEYS.keys()
    for key, tensor in back.items():
        np.testing.assert_array_equal(tensor, golden.state_dict[key], err_msg=key)


def test_adapter_keys_of_newer_peft_are_read() -> None:
    golden = golden_sets.load("A")
    renamed = {key.replace("_proj.weight", "_proj.base_layer.weight"): value for key, value in golden.state_dict.items()}
    assert renamed.keys() != golden.state_dict.keys()
    params, _ = params_from_state_dict(renamed, golden.config)
    jax.tree.map(np.testing.assert_array_equal, params, golden.params)


def test_missing_and_unknown_keys_are_refused_by_name() -> None:
    golden = golden_sets.load("A")
    damaged = dict(golden.state_dict)
    damaged["surprise"] = damaged.pop("vision_layernorm.weight")
    with pytest.raises(UserError, match=r"vision_layernorm\.weight.*surprise"):
        params_from_state_dict(damaged, golden.config)


def test_a_checkpoint_without_what_training_adds_names_it() -> None:
    golden = golden_sets.load("A")
    base = {key: value for key, value in golden.state_dict.items() if "router_alpha" not in key and "lora_" not in key}
    for key in ("lm.base_model.model.model.embed_tokens.weight", "lm.base_model.model.lm_head.weight"):
        base[key] = base[key][: golden.config.language_model.vocab_size]
    params, absent = params_from_state_dict(base, golden.config)
    routers, adapters = 3 * len(golden.config.qformer.routed_modules), 2 * len(golden.config.language_model.lora.targets)
    assert len(absent) == routers + adapters + 2
    assert "language_model/added_embedding" in absent and "added_embedding" not in params["language_model"]
