"""Models that lack a part of PVChat: no subject tokens, no routed layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from pvchat_jax.config.schema import ObjectiveConfig
from pvchat_jax.models.config import TINY, PVChatConfig, QFormerConfig
from pvchat_jax.models.pvchat import PVChat, PVChatOutput, build_pvchat, init_boxed
from pvchat_jax.objectives.routing import routing_statistics
from pvchat_jax.objectives.spr import initial_spr_state
from pvchat_jax.objectives.total import regularisation_loss
from tests.random_params import random_params

CLIPS, TEXT = 2, 3
PLAIN = dataclasses.replace(TINY.qformer.remoh, start_layer=TINY.qformer.num_layers)
SOFTMAX = dataclasses.replace(TINY.qformer.remoh, router="softmax")


def _built(**qformer: object) -> tuple[PVChatConfig, PVChat, dict]:
    """TINY with changes to its Q-Former and one decoder layer, as (config, model, random parameters)."""
    decoder = dataclasses.replace(TINY.language_model, num_layers=1)
    config = dataclasses.replace(TINY, qformer=dataclasses.replace(TINY.qformer, **qformer), language_model=decoder)
    model = build_pvchat(config)
    return config, model, random_params(lambda key: {"params": init_boxed(model, config, key)}, jax.random.key(0))


def _forward(config: PVChatConfig, model: PVChat, params: dict) -> PVChatOutput:
    """One video of random features, one question behind as many placeholders as the clips have tokens."""
    visual = CLIPS * config.qformer.num_visual_tokens
    ids = jnp.arange(visual + TEXT)[None, None]
    features = np.random.default_rng(0).normal(size=(1, CLIPS, 5, config.vision.width)).astype(np.float32)
    mask = jnp.ones(ids.shape, bool)
    return model.apply({"params": params}, None, ids, mask, ids < visual, features=features)


@pytest.mark.parametrize(
    "changes",
    [{"remoh": PLAIN}, {"remoh": PLAIN, "num_subject_tokens": 0}, {"remoh": SOFTMAX}],
    ids=["plain", "plain without subject tokens", "softmax"],
)
def test_loss_and_gradients_are_finite_and_reach_the_qformer(changes: dict) -> None:
    config, model, params = _built(**changes)
    objective = ObjectiveConfig(spr_initial=0.1, load_balance_weight=0.1)
    modules = config.qformer.routed_modules

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradients(params: dict) -> jax.Array:
        output = _forward(config, model, params)
        statistics = routing_statistics(output.routing, modules, objective.hae_slope)
        router_loss, _ = regularisation_loss(statistics, initial_spr_state(objective, len(modules)), objective)
        return jnp.mean(output.logits[:, :, -TEXT:] ** 2) + router_loss

    loss, gradients = loss_and_gradients(params)
    gradients = flatten_dict(gradients, sep="/")
    assert np.isfinite(loss) and all(np.isfinite(leaf).all() for leaf in gradients.values())
    assert ("subject_tokens" in gradients) == (config.qformer.num_subject_tokens > 0)
    assert any("router" in name for name in gradients) == bool(modules)
    reached = {name for name, leaf in gradients.items() if np.any(leaf)}
    assert "query_tokens" in reached
    assert {name for name in gradients if "router" in name or name == "subject_tokens"} <= reached


def test_clips_without_subject_tokens_have_the_query_tokens_alone() -> None:
    config, model, params = _built(num_subject_tokens=0)
    features = jnp.zeros((1, CLIPS, 5, config.vision.width))
    queries = jax.eval_shape(lambda params: model.apply({"params": params}, features, method="query"), params).queries
    assert queries.shape[1] == config.qformer.num_visual_tokens == config.qformer.num_query_tokens


@pytest.mark.parametrize("field", ["num_query_tokens", "num_extra_query_tokens", "num_subject_tokens"])
def test_numbers_of_tokens_that_no_model_has_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        QFormerConfig(**{field: 0 if field == "num_query_tokens" else -1})
