"""The faithful mode against the original: losses of single calls, and six optimizer steps of training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import stage2
from converters.state_dict_mapping import Entry, entries
from pvchat_jax.config.schema import ObjectiveConfig, TrainConfig
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.objectives.routing import routing_statistics
from pvchat_jax.objectives.spr import initial_spr_state
from pvchat_jax.objectives.total import regularisation_loss
from pvchat_jax.sharding import make_mesh, mesh_context
from pvchat_jax.training.partition import split_params, trainable_groups
from pvchat_jax.training.state import create_train_state
from pvchat_jax.training.step import make_train_step, whole_batch_gradients
from tests import golden_sets
from tests.golden_sets import GoldenSet, assert_close


def reference_config(golden: GoldenSet, learning_rates: dict[str, float]) -> TrainConfig:
    """The preset `reference` at a golden's sizes and learning rates."""
    preset = stage2.get_config("reference")
    moh = golden.info["qformer"]
    objective = ObjectiveConfig(
        target_active_rate=moh["moh_top_k"] / golden.config.qformer.num_routed_heads,
        spr_weight=moh["moh_load_balance_weight"],
        spr_rate=moh["k"],
        spr_initial=moh["remoe_lambda"],
        hae_mode=preset.objective.hae_mode,
        hae_initial_weight=moh["alignment_weight"],
    )
    return dataclasses.replace(
        preset,
        num_steps=6,
        model=golden.config,
        data=dataclasses.replace(preset.data, image_size=golden.config.vision.image_size, batch_size=golden.info["data"]["B"]),
        optimizer=dataclasses.replace(preset.optimizer, **learning_rates),
        objective=objective,
        compute_dtype="float32",
        frozen_dtype="float32",
    )


def _batch(golden: GoldenSet) -> dict[str, jax.Array]:
    io = golden.io
    rows = {"input_ids": "input_ids", "attention_mask": "attention_mask", "labels": "labels", "video_mask": "video_idx"}
    batch = {name: jnp.asarray(io[f"in/{theirs}"][:, None]) for name, theirs in rows.items()}
    return batch | {"video": jnp.asarray(golden.clips_last("in/video"))}


@pytest.fixture(params=golden_sets.NAMES, scope="module")
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return golden_sets.load(request.param)


def test_losses_of_consecutive_calls(golden: GoldenSet) -> None:
    """The regularisers from the recorded gates: the second call goes on from the first one's state."""
    config = reference_config(golden, {})
    modules = config.model.qformer.routed_modules
    for calls in (("vid", "vid2"), ("img",), ("ins",)):
        state = initial_spr_state(config.objective, len(modules))
        for call in calls:
            source = "vid" if call == "vid2" else call  # same inputs, so same gates
            gates = {name: golden.io[f"{source}/gating_probs.{name}"] for name in modules}
            routing = {name: _Routing(gate, gate) for name, gate in gates.items()}
            statistics = routing_statistics(routing, modules, config.objective.hae_slope)
            loss, regularisation = regularisation_loss(statistics, state, config.objective)
            recorded = {
                name: golden.io[f"{call}/{name}"] for name in ("aux_lambda_before", "aux_lambda_after", "aux_active_rate", "lb_loss")
            }
            assert golden.io[f"{call}/aux_names"].tolist() == list(modules)
            np.testing.assert_allclose(state.coefficient, recorded["aux_lambda_before"], rtol=1e-5)
            state = regularisation.spr
            np.testing.assert_allclose(state.coefficient, recorded["aux_lambda_after"], rtol=1e-5)
            np.testing.assert_allclose(state.hae_weight, golden.io[f"{call}/aux_alignment_weight"], rtol=1e-5)
            np.testing.assert_allclose(statistics.active_rate, recorded["aux_active_rate"], rtol=1e-6)
            np.testing.assert_allclose(loss, recorded["lb_loss"], rtol=2e-5)


@dataclasses.dataclass(frozen=True)
class _Routing:
    logits: np.ndarray
    gates: np.ndarray


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """Our run beside the recorded one; parameters by state-dict key."""

    recorded: dict[str, np.ndarray]
    start: dict[str, np.ndarray]
    losses: dict[str, list[float]]
    coefficients: np.ndarray
    hae_weights: np.ndarray
    first_gradients: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    first_loss_error: float


def _by_key(tree: dict, table: tuple[Entry, ...]) -> dict[str, np.ndarray]:
    """The leaves of `tree` (any part of the parameters) under the original's names."""
    named: dict[str, np.ndarray] = {}
    for entry in table:
        node = tree
        for part in entry.path.split("/"):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            named |= entry.to_torch(np.asarray(node))
    return named


@pytest.fixture(params=golden_sets.TRAIN_NAMES, scope="module")
def run(request: pytest.FixtureRequest) -> TrainingRun:
    golden = golden_sets.load(request.param)
    recorded = golden_sets.load_npz(golden_sets.PATHS[request.param].with_name(f"{request.param}_train.npz"))
    rates = {"subject_tokens": "personal", "qformer": "qformer", "router": "moh", "lora": "lora"}
    config = reference_config(golden, {group: float(recorded[f"lr/{theirs}"]) for group, theirs in rates.items()})
    model, mesh, batch = build_pvchat(golden.config), make_mesh(config.mesh, devices=jax.devices()[:1]), _batch(golden)
    table = entries(golden.config)
    params = jax.tree.map(jnp.array, golden.params)
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    trainable, frozen = jax.device_put((trainable, frozen), jax.sharding.NamedSharding(mesh, jax.P()))
    with mesh_context(mesh):
        gradients_of = jax.jit(functools.partial(whole_batch_gradients, model=model, config=config))
        state = create_train_state(trainable, config, mesh)
        gradients, outcome = gradients_of(trainable, frozen, batch, state.spr, jax.random.key(0))
    step = make_train_step(model, config, mesh)
    losses: dict[str, list[float]] = {"total_loss": [], "lm_loss": [], "lb_loss": []}
    coefficients, hae_weights = [], []
    for _ in range(6):
        state, metrics = step(state, frozen, batch)
        losses["total_loss"].append(float(metrics["loss"]))
        losses["lm_loss"].append(float(metrics["lm_loss"]))
        losses["lb_loss"].append(float(metrics["spr_loss"] + metrics["hae_loss"]))
        coefficients.append(np.asarray(state.spr.coefficient))
        hae_weights.append(np.asarray(state.spr.hae_weight))
    return TrainingRun(
        recorded=recorded,
        start=golden.state_dict,
        losses=losses,
        coefficients=np.stack(coefficients),
        hae_weights=np.stack(hae_weights),
        first_gradients=_by_key(gradients, table),
        final=_by_key(state.trainable, table),
        first_loss_error=float(outcome.parts["lm_loss"]) - float(golden.io["vid/lm_loss"]),
    )


def test_loss_of_the_first_call(run: TrainingRun) -> None:
    assert abs(run.first_loss_error) < 5e-5


def test_losses(run: TrainingRun) -> None:
    for name, values in run.losses.items():
        np.testing.assert_allclose(values, run.recorded[name], rtol=0, atol=5e-5, err_msg=name)


def test_adaptive_coefficients(run: TrainingRun) -> None:
    np.testing.assert_allclose(run.coefficients, run.recorded["aux_lambda_after"], rtol=1e-5)
    np.testing.assert_allclose(run.hae_weights, run.recorded["aux_alignment_weight"], rtol=1e-5)


def test_first_gradients(run: TrainingRun) -> None:
    names = [name.removeprefix("grad/") for name in run.recorded if name.startswith("grad/")]
    assert names
    for name in names:
        assert_close(run.first_gradients[name], run.recorded[f"grad/{name}"], 1e-4)
    norms = dict(zip(run.recorded["grad_names"].tolist(), run.recorded["grad_norms"].tolist(), strict=True))
    assert norms.keys() == run.first_gradients.keys()
    for name, norm in norms.items():
        if not name.endswith("key.bias"):  # truly zero, so only rounding is left of it
            np.testing.assert_allclose(np.linalg.norm(run.first_gradients[name]), norm, rtol=1e-3, atol=1e-7, err_msg=name)


def test_exactly_the_same_parameters_train(run: TrainingRun) -> None:
    assert run.final.keys() == set(run.recorded["final_names"].tolist())


def test_final_parameters(run: TrainingRun) -> None:
    """Within 1e-3; every `key.bias` is left out, because its true gradient is zero (tests/goldens/README.md)."""
    names = [name.removeprefix("final/") for name in run.recorded if name.startswith("final/") and not name.endswith("key.bias")]
    assert len(names) > 100
    moved = 0.0
    for name in names:
        np.testing.assert_allclose(run.final[name], run.recorded[f"final/{name}"], rtol=0, atol=1e-3, err_msg=name)
        moved = max(moved, np.abs(run.final[name] - run.start[name]).max())
    assert moved > 0.01  # the tolerance would otherwise accept no training at all
