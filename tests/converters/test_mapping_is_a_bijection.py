"""The table in both directions, at sizes that nobody chose by hand."""

import functools
from collections import Counter

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.state_dict_mapping import entries, params_from_state_dict, state_dict_from_params, with_base_layer_names
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import (
    LORA_TARGETS,
    ROUTER_INITS,
    TINY,
    LoRAConfig,
    MistralConfig,
    PVChatConfig,
    QFormerConfig,
    ReMoHConfig,
    VisionConfig,
)
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from tests.golden_sets import load

COUNTS = st.integers(1, 3)


@st.composite
def configs(draw: st.DrawFn) -> PVChatConfig:
    """Models of a few thousand parameters with every part present or not; no two axes need have the same size."""
    patch, tubelet = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2]))
    routed = draw(COUNTS)
    shared = draw(st.integers(0, 2))
    kv_heads = draw(st.integers(1, 2))
    return PVChatConfig(
        name="drawn",
        vision=VisionConfig(
            image_size=patch * draw(COUNTS),
            patch_size=patch,
            tubelet_size=tubelet,
            num_frames=tubelet * draw(COUNTS),
            width=16,
            num_heads=2,
            depth=draw(st.integers(3, 6)),
            return_index=-2,
            mlp_width=draw(st.integers(4, 9)),
            separate_image_position=draw(st.booleans()),
        ),
        qformer=QFormerConfig(
            width=(routed + shared) * draw(COUNTS),
            num_layers=draw(COUNTS),
            num_heads=routed + shared,
            mlp_width=draw(st.integers(2, 7)),
            vocab_size=draw(st.integers(2, 9)),
            max_text_length=draw(st.integers(2, 9)),
            cross_attention_every=draw(st.integers(1, 2)),
            num_query_tokens=draw(COUNTS),
            num_extra_query_tokens=draw(st.integers(0, 2)),
            num_subject_tokens=draw(st.integers(0, 2)),
            remoh=ReMoHConfig(start_layer=draw(st.integers(0, 3)), num_shared_heads=shared, init=draw(st.sampled_from(ROUTER_INITS))),
        ),
        language_model=MistralConfig(
            vocab_size=draw(st.integers(3, 9)),
            num_added_tokens=draw(st.integers(0, 2)),
            width=draw(st.integers(5, 8)),
            mlp_width=draw(st.integers(3, 9)),
            num_layers=draw(COUNTS),
            num_heads=kv_heads * draw(st.integers(1, 2)),
            num_kv_heads=kv_heads,
            head_dim=draw(st.sampled_from([2, 4])),
            lora=LoRAConfig(rank=draw(st.integers(0, 2)), targets=draw(st.lists(st.sampled_from(LORA_TARGETS), unique=True))),
        ),
        remat_policy="none",
    )


def _random_params(config: PVChatConfig) -> dict[str, np.ndarray]:
    """Different numbers everywhere, by path."""
    shapes = nn.unbox(jax.eval_shape(functools.partial(init_boxed, build_pvchat(config), config), jax.random.key(0)))
    rng = np.random.default_rng(0)
    return {path: rng.standard_normal(leaf.shape, np.float32) for path, leaf in flatten_dict(shapes, sep="/").items()}


def _assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype and actual[name].shape == value.shape, name
        assert actual[name].tobytes() == value.tobytes(), name


@settings(max_examples=15, deadline=None, derandomize=True)
@given(config=configs())
def test_ours_to_torch_to_ours_and_torch_to_ours_to_torch(config: PVChatConfig) -> None:
    table = entries(config)
    ours = _random_params(config)
    assert Counter(entry.path for entry in table) == Counter(ours.keys())
    # A key stands in two entries only where each has rows of its own.
    counted = Counter((key, entry.rows) for entry in table for key in entry.keys)
    assert set(counted.values()) == {1}
    assert {len(rows) for rows in _rows_by_key(table).values() if (None, None) in rows} == {1}

    theirs = state_dict_from_params(unflatten_dict(ours, sep="/"), config)
    assert theirs.keys() == {key for entry in table for key in entry.keys}
    for named in (theirs, with_base_layer_names(theirs)):
        again, absent = params_from_state_dict(named, config)
        assert not absent
        _assert_same(flatten_dict(again, sep="/"), ours)

    rng = np.random.default_rng(1)
    fresh = {key: rng.standard_normal(value.shape, np.float32) for key, value in theirs.items()}
    _assert_same(state_dict_from_params(params_from_state_dict(fresh, config)[0], config), fresh)


def _rows_by_key(table) -> dict[str, list]:
    found: dict[str, list] = {}
    for entry in table:
        for key in entry.keys:
            found.setdefault(key, []).append(entry.rows)
    return found


def test_base_layer_names_are_those_of_adapted_layers_alone() -> None:
    renamed = with_base_layer_names(load("A").state_dict)
    assert "lm.base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight" in renamed
    assert {"lm.base_model.model.lm_head.weight", "lm.lm_head.weight", "project_up.weight"} <= renamed.keys()
    assert sum(".base_layer." in key for key in renamed) == 7 * load("A").config.language_model.num_layers


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_parameters_of_another_model_are_refused_by_name(change: str) -> None:
    params = flatten_dict(load("A").params, sep="/")
    if change == "missing":
        del params["vision_norm/scale"]
    else:
        params["vision_norm/surprise"] = np.zeros(1)
    with pytest.raises(UserError, match="vision_norm/s"):
        state_dict_from_params(unflatten_dict(params, sep="/"), load("A").config)
    with pytest.raises(UserError, match="language_model"):
        state_dict_from_params({"language_model": {}}, TINY)
