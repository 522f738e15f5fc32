"""ReMoH attention against the original's module, what the two initialisations do, and the softmax router."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.models.config import QFormerConfig, ReMoHConfig
from pvchat_jax.models.qformer import QFormer, QFormerAttention
from pvchat_jax.models.remoh import HeadRouter, Routing, softmax_gates, weigh_heads
from tests.golden_sets import assert_close, load_npz
from tests.random_params import random_params

RECORDED = load_npz(Path(__file__).parents[1] / "goldens" / "attention.npz")
CONFIG = QFormerConfig(
    width=48, num_heads=12, hidden_dropout=0, attention_dropout=0, drop_path=0, remoh=ReMoHConfig(num_shared_heads=8, init="reference")
)
ATTENTION = QFormerAttention(CONFIG, True, 0.0, True, "xla", jnp.float32)


def _tree(prefix: str) -> dict:
    """Arrays named like the original's weights, as our parameters."""

    def dense(name: str) -> dict:
        return {"kernel": RECORDED[f"{prefix}/{name}.weight"].T, "bias": RECORDED[f"{prefix}/{name}.bias"]}

    router = {
        "router": dense("self.router_alpha.router"),
        "mixing": {"kernel": RECORDED[f"{prefix}/self.router_alpha.alpha_proj.weight"].T},
    }
    norm = {"scale": RECORDED[f"{prefix}/output.LayerNorm.weight"], "bias": RECORDED[f"{prefix}/output.LayerNorm.bias"]}
    projections = {name: dense(f"self.{name}") for name in ("query", "key", "value")}
    return projections | {"head_router": router, "output": {"dense": dense("output.dense"), "norm": norm}}


def _inputs(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = RECORDED[f"{kind}/x"]
    return x, RECORDED["cross/enc"] if kind == "cross" else x, RECORDED[f"{kind}/keep_mask"] > 0


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_output_and_routing(kind: str) -> None:
    output, routing = jax.jit(ATTENTION.apply)({"params": _tree(f"{kind}/weights")}, *_inputs(kind))
    assert_close(output, RECORDED[f"{kind}/out"])
    assert_close(routing.gates, RECORDED[f"{kind}/gating_probs"])
    assert_close(routing.mixing, RECORDED[f"{kind}/alpha_probs"])


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_context_before_the_output_layer(kind: str) -> None:
    params = _tree(f"{kind}/weights")
    params["output"] = {
        "dense": {"kernel": np.eye(48, dtype=np.float32), "bias": np.zeros(48, np.float32)},
        "norm": {"scale": np.ones(48, np.float32), "bias": np.zeros(48, np.float32)},
    }
    output, _ = jax.jit(ATTENTION.apply)({"params": params}, *_inputs(kind))
    expected = RECORDED[f"{kind}/context"] + RECORDED[f"{kind}/x"]
    expected = (expected - expected.mean(-1, keepdims=True)) / expected.std(-1, keepdims=True)
    assert_close(output, expected)


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_gradients(kind: str) -> None:
    x, source, mask = _inputs(kind)

    def projected(params: dict, x: jax.Array) -> jax.Array:
        output, _ = ATTENTION.apply({"params": params}, x, x if kind == "self" else source, mask)
        return (output * RECORDED[f"{kind}/R"]).sum()

    by_params, by_x = jax.jit(jax.grad(projected, argnums=(0, 1)))(_tree(f"{kind}/weights"), x)
    assert_close(by_x, RECORDED[f"{kind}/grad_proj/x"], 1e-4)
    expected = _tree(f"{kind}/grad_proj")
    largest = np.abs(expected["key"]["kernel"]).max()
    np.testing.assert_allclose(by_params.pop("key")["bias"], 0, atol=1e-5 * largest)  # zero but for rounding
    np.testing.assert_allclose(expected.pop("key")["bias"], 0, atol=1e-5 * largest)
    jax.tree.map(lambda a, b: assert_close(a, b, 1e-4), by_params, expected)


@pytest.mark.parametrize(("num_shared", "num_routed"), [(0, 3), (1, 1), (5, 2)])
def test_any_number_of_heads(num_shared: int, num_routed: int) -> None:
    rng = np.random.default_rng(0)
    heads = rng.normal(size=(2, 3, num_shared + num_routed, 4)).astype(np.float32)
    gates = rng.uniform(0, 10, (2, 3, num_routed)).astype(np.float32)
    mixing = rng.uniform(0.1, 0.9, (2, 3, 2)).astype(np.float32)
    weighed = weigh_heads(heads, Routing(gates, gates, mixing), ReMoHConfig(num_shared_heads=num_shared, init="reference"))
    for head in range(num_shared + num_routed):
        factor = mixing[..., 0] if head < num_shared else mixing[..., 1] * gates[..., head - num_shared]
        assert_close(weighed[:, :, head], heads[:, :, head] * factor[..., None], 1e-6)


def test_gates_are_clipped() -> None:
    params = {
        "router": {"kernel": np.eye(3, dtype=np.float32), "bias": np.zeros(3, np.float32)},
        "mixing": {"kernel": 100 * np.ones((3, 2), np.float32)},
    }
    routing = HeadRouter(3, "reference").apply({"params": params}, np.array([[[-5.0, 0.5, 40.0]]], np.float32))
    np.testing.assert_array_equal(routing.gates, [[[0, 0.5, 10]]])
    np.testing.assert_array_equal(routing.logits, [[[-5, 0.5, 40]]])
    np.testing.assert_allclose(routing.mixing, 0.5)


def _qformer_outputs(config: QFormerConfig, params: dict) -> jax.Array:
    rng = np.random.default_rng(1)
    tokens, features = rng.normal(size=(5, config.width)), rng.normal(size=(2, 7, 40))
    return jax.jit(QFormer(config, "none").apply)({"params": params}, tokens.astype(np.float32), features.astype(np.float32)).queries


def _qformer_params(config: QFormerConfig) -> dict:
    tokens, features = jnp.zeros((5, config.width)), jnp.zeros((2, 7, 40))
    return random_params(QFormer(config, "none").init, jax.random.key(3), tokens, features)


def test_identity_start_leaves_a_pretrained_qformer_exactly_as_it_was() -> None:
    plain = dataclasses.replace(CONFIG, num_layers=4, mlp_width=32, remoh=ReMoHConfig(start_layer=4, num_shared_heads=8))
    pretrained = _qformer_params(plain)
    outputs = {}
    for init in ("identity", "reference"):
        routed = dataclasses.replace(plain, remoh=ReMoHConfig(start_layer=2, num_shared_heads=8, init=init))
        router = nn.unbox(HeadRouter(4, init).init(jax.random.key(0), jnp.zeros((1, 1, 48))))["params"]
        merged = jax.tree.map(lambda x: x, pretrained)
        for layer in ("layer_2", "layer_3"):
            for attention in merged[layer].keys() & {"self_attention", "cross_attention"}:
                merged[layer][attention]["head_router"] = router
        outputs[init] = _qformer_outputs(routed, merged)
    expected = _qformer_outputs(plain, pretrained)
    np.testing.assert_array_equal(outputs["identity"], expected)
    assert np.abs(outputs["reference"] - expected).max() > 1e-3


def test_reference_start_silences_routed_heads_and_halves_shared_ones() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 48)).astype(np.float32)
    router = HeadRouter(4, "reference")
    routing = router.apply({"params": nn.unbox(router.init(jax.random.key(0), x)["params"])}, x)
    weights = weigh_heads(jnp.ones((2, 4, 12, 1)), routing, CONFIG.remoh)[..., 0]
    np.testing.assert_allclose(weights[..., :8], 0.5, atol=1e-3)
    np.testing.assert_allclose(weights[..., 8:], 0.0, atol=1e-3)


LOGITS = np.random.default_rng(2).normal(size=(2, 5, 4)).astype(np.float32)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


@pytest.mark.parametrize("top_k", [1, 3, 4])
def test_softmax_gates_are_scaled_probabilities_of_the_top_k_and_exactly_0_elsewhere(top_k: int) -> None:
    gates = np.asarray(softmax_gates(LOGITS, top_k))
    kept = np.sort(LOGITS, axis=-1)[..., -top_k, None] <= LOGITS
    assert kept.sum(-1).min() == kept.sum(-1).max() == top_k
    assert_close(gates[kept], 4 * PROBABILITIES[kept], 1e-6)
    assert not gates[~kept].any()


def test_even_softmax_router_keeps_heads_at_weight_1() -> None:
    np.testing.assert_array_equal(softmax_gates(np.zeros((1, 2, 4), np.float32), 2), [[[1, 1, 0, 0]] * 2])


def test_gradient_of_a_kept_gate_is_the_softmax_s() -> None:
    best = LOGITS[0, 0].argmax()
    gradient = jax.grad(lambda logits: softmax_gates(logits, 1)[0, 0, best])(LOGITS)
    probabilities = PROBABILITIES[0, 0]
    expected = np.zeros_like(LOGITS)
    expected[0, 0] = 4 * probabilities[best] * ((np.arange(4) == best) - probabilities)
    assert_close(gradient, expected, 1e-6)


@pytest.mark.parametrize("init", ["identity", "reference"])
def test_softmax_router_starts_with_the_heads_of_each_token_at_the_shared_heads_weight(init: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 16, 48)).astype(np.float32)
    remoh = ReMoHConfig(num_shared_heads=8, init=init, router="softmax")
    config = dataclasses.replace(CONFIG, remoh=remoh)
    router = HeadRouter(config.num_routed_heads, init, config.router_top_k)
    routing = router.apply({"params": nn.unbox(router.init(jax.random.key(0), x)["params"])}, x)
    weights = np.asarray(weigh_heads(jnp.ones((2, 16, 12, 1)), routing, remoh)[..., 0])
    weight = 1.0 if init == "identity" else 0.5
    kept = weights[..., 8:] > 0
    np.testing.assert_array_equal(kept.sum(-1), 2)
    assert kept.any((0, 1)).all()  # not the same two heads for every token
    np.testing.assert_allclose(weights[..., :8], weight, atol=1e-3)
    np.testing.assert_allclose(weights[..., 8:][kept], weight, atol=1e-3)


def test_softmax_attention_differs_from_relu_by_its_gates_alone() -> None:
    params, inputs = _tree("self/weights"), _inputs("self")
    config = dataclasses.replace(CONFIG, remoh=dataclasses.replace(CONFIG.remoh, router="softmax", top_k=3))
    outputs = {}
    for each in (CONFIG, config):
        attention = QFormerAttention(each, True, 0.0, True, "xla", jnp.float32)
        outputs[each.remoh.router] = jax.jit(attention.apply)({"params": params}, *inputs)
    (relu_output, relu), (output, routing) = outputs["relu"], outputs["softmax"]
    np.testing.assert_array_equal(routing.logits, relu.logits)
    np.testing.assert_array_equal(routing.mixing, relu.mixing)
    assert_close(routing.gates, softmax_gates(relu.logits, 3), 1e-6)
    assert np.abs(output - relu_output).max() > 1e-2


def test_softmax_routers_keep_half_of_the_routed_heads_unless_told() -> None:
    def top_k(num_heads: int, **remoh: object) -> int | None:
        return QFormerConfig(width=48, num_heads=num_heads, remoh=ReMoHConfig(num_shared_heads=0, **remoh)).router_top_k

    assert (top_k(4, router="softmax"), top_k(3, router="softmax"), top_k(1, router="softmax")) == (2, 1, 1)
    assert top_k(4, router="softmax", top_k=4) == 4
    assert top_k(4) is None


@pytest.mark.parametrize(("remoh", "message"), [({"router": "topk"}, "remoh.router"), ({"top_k": 0}, "top_k"), ({"top_k": 5}, "top_k")])
def test_impossible_routers_are_refused(remoh: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QFormerConfig(remoh=ReMoHConfig(num_shared_heads=8, **remoh))
