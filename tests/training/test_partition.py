"""Which parameters train: of the stand-in in detail, of the real model by its paths."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from pvchat_jax.config.schema import TRAINABLE_GROUPS, OptimizerConfig
from pvchat_jax.models.config import TINY
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
from pvchat_jax.training.partition import group_labels, group_of, join_params, split_params, trainable_groups
from tests.training.stand_in import StandIn

# The groups that the original's optimizer holds and really updates (docs/reference.md section 8).
ORIGINAL = ("subject_tokens", "qformer", "router", "lora")


@functools.cache
def real_params() -> dict:
    """Abstract parameters of the tiny PVChat."""
    model = build_pvchat(TINY)
    return nn.unbox(jax.eval_shape(lambda: init_boxed(model, TINY, jax.random.key(0))))


def paths(tree: dict) -> set[str]:
    return set(flatten_dict(tree, sep="/"))


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("subject_tokens", "subject_tokens"),
        ("query_tokens", "base"),
        ("extra_query_tokens", "base"),
        ("project_up/kernel", "base"),
        ("vision_norm/scale", "base"),
        ("vision_encoder/lower_blocks/attn/qkv/kernel", "base"),
        ("vision_encoder/upper_blocks/attn/qkv/kernel", "vision_upper"),
        ("vision_encoder/pos_embed", "base"),
        ("language_model/added_embedding", "name_row"),
        ("language_model/added_head", "name_row"),
        ("language_model/embed_tokens", "base"),
        ("language_model/layers/self_attn/q_proj/kernel", "base"),
        ("language_model/layers/self_attn/q_proj/lora_a", "lora"),
        ("language_model/lm_head/lora_b", "lora"),
        ("qformer/layer_6/self_attention/query/kernel", "qformer"),
        ("qformer/layer_6/self_attention/head_router/router/bias", "router"),
        ("qformer/layer_6/cross_attention/head_router/mixing/kernel", "router"),
        ("qformer/embeddings_norm/scale", "qformer"),
    ],
)
def test_group_of_a_path(path: str, group: str):
    assert group_of(path) == group


def test_every_group_exists_in_the_real_model():
    assert set(jax.tree.leaves(group_labels(real_params()))) == set(TRAINABLE_GROUPS)


def test_original_groups_of_the_real_model():
    trainable, _ = split_params(real_params(), ORIGINAL)
    trained = paths(trainable)
    assert {path.split("/")[0] for path in trained} == {"subject_tokens", "qformer", "language_model"}
    assert all(path.rsplit("/", 1)[1] in ("lora_a", "lora_b") for path in trained if path.startswith("language_model/"))
    untrained = paths(real_params()["qformer"]) - paths(trainable["qformer"])
    assert untrained == {path for path in paths(real_params()["qformer"]) if "text_ffn" in path or path.startswith("embeddings/")}
    assert len(untrained) == 2 + 6 * TINY.qformer.num_layers  # two tables; two dense layers and a norm per feed-forward


def test_instruction_tuning_trains_the_text_parts_too():
    trainable, _ = split_params(real_params(), ORIGINAL, with_instruction=True)
    assert paths(trainable["qformer"]) == paths(real_params()["qformer"])


@pytest.mark.parametrize("groups", [ORIGINAL, ("vision_upper",), TRAINABLE_GROUPS, ()])
def test_split_is_disjoint_and_joins_again(groups: tuple[str, ...]):
    params = nn.unbox(StandIn().init_boxed())
    trainable, frozen = split_params(params, groups)
    assert not paths(trainable) & paths(frozen)
    joined = join_params(trainable, frozen)
    assert paths(joined) == paths(params)
    assert all(joined_leaf is leaf for joined_leaf, leaf in zip(jax.tree.leaves(joined), jax.tree.leaves(params), strict=True))


def test_split_leaves_no_empty_branches():
    trainable, frozen = split_params(nn.unbox(StandIn().init_boxed()), ("lora", "vision_upper"))
    assert set(trainable) == {"vision_encoder", "language_model"}
    assert set(trainable["language_model"]["lm_head"]) == {"lora_a", "lora_b"}
    assert set(frozen["vision_encoder"]) == {"lower_blocks"}


def test_parameter_in_both_trees_is_refused():
    with pytest.raises(ValueError, match="qformer/a is in both"):
        join_params({"qformer": {"a": jnp.ones(1)}}, {"qformer": {"a": jnp.ones(1)}})


def test_unknown_group_is_refused():
    with pytest.raises(ValueError, match="querformer"):
        split_params({}, ("querformer",))


def test_group_trains_if_its_rate_is_above_zero():
    config = OptimizerConfig(name_row=0.0, vision_upper=1e-6)
    assert trainable_groups(config) == ("subject_tokens", "qformer", "router", "lora", "vision_upper")
