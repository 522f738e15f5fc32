"""The training step: exact accumulation, guard, compilation, placement, randomness.

Compiling is most of the time here, so each compiled step serves several tests.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from pvchat_jax.config.schema import MeshConfig, ObjectiveConfig, TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.objectives import language_modelling
from pvchat_jax.objectives.language_modelling import TokenSums, mean_loss
from pvchat_jax.objectives.total import total_loss
from pvchat_jax.sharding import MESH_AXES, make_mesh, mesh_context, param_shardings, put_batch, replicated
from pvchat_jax.training.partition import split_params, trainable_groups
from pvchat_jax.training.state import TrainState, create_train_state
from pvchat_jax.training.step import accumulated_gradients, dropout_stream, forward, jit_train_step, make_train_step, split_micro_batches
from tests.training.stand_in import BATCH, MODULES, QUESTIONS, VOCAB, Output, StandIn, make_batch, make_config

ONE, CUBE = (1, 1, 1), (2, 2, 2)
MESHES = {shape: make_mesh(MeshConfig(**dict(zip(MESH_AXES, shape, strict=True)))) for shape in (ONE, CUBE, (8, 1, 1), (1, 8, 1))}
NUM_STEPS = 5


class Training:
    """A compiled step of the stand-in with what it takes to start it."""

    def __init__(self, mesh: tuple[int, int, int], gradient_accumulation: int) -> None:
        self.model = StandIn()
        self.mesh = MESHES[mesh]
        self.config = make_config(gradient_accumulation=gradient_accumulation, schedule="linear", warmup_steps=2, num_steps=40)
        self.step = make_train_step(self.model, self.config, self.mesh)

    def start(self) -> tuple[TrainState, Any]:
        """Fresh state and frozen parameters."""
        return start(self.model, self.config, self.mesh)

    def batch(self, seed: int) -> dict[str, jax.Array]:
        return put_batch(make_batch(seed), self.mesh)


class Run(NamedTuple):
    state: TrainState
    first_opt_state: Any  # after the first step
    history: list[dict[str, np.ndarray]]


def start(model: StandIn, config: TrainConfig, mesh: jax.sharding.Mesh) -> tuple[TrainState, Any]:
    boxed = model.init_boxed()
    params = jax.device_put(nn.unbox(boxed), param_shardings(boxed, mesh))
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    return create_train_state(trainable, config, mesh), frozen


training = functools.cache(Training)


@functools.cache
def run(mesh: tuple[int, int, int], gradient_accumulation: int, num_steps: int = NUM_STEPS) -> Run:
    """Training on batches 0, 1, ..., everything copied to the host."""
    compiled = training(mesh, gradient_accumulation)
    state, frozen = compiled.start()
    history, first_opt_state = [], None
    for index in range(num_steps):
        state, metrics = compiled.step(state, frozen, compiled.batch(index))
        history.append(jax.tree.map(np.asarray, metrics))
        if index == 0:
            first_opt_state = jax.tree.map(np.array, state.opt_state)
    return Run(jax.tree.map(np.asarray, state), first_opt_state, history)


def assert_trees_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Each leaf within `tolerance` of the largest entry of the expected one."""
    for (path, wanted), got in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(actual), strict=True):
        largest = np.max(np.abs(wanted), initial=1e-12)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * largest, err_msg=jax.tree_util.keystr(path))


def test_accumulation_over_four_micro_batches_is_exact():
    whole, parts = run(ONE, 1), run(ONE, 4)
    assert whole.history[0]["hae_loss"] > 0 and whole.history[0]["spr_loss"] > 0
    assert_trees_close(parts.history, whole.history)
    assert_trees_close(parts.state.spr, whole.state.spr)
    # Adam's moments are sums over the gradients, which the parameters alone would show less exactly
    assert_trees_close(parts.state.opt_state, whole.state.opt_state, 2e-5)
    assert_trees_close(parts.state.trainable, whole.state.trainable)


def test_accumulation_is_exact_with_dropout_and_a_smooth_rate():
    """Both passes draw the same dropout: gradients are those of the loss over all micro-batches written out."""
    model = StandIn(dropout=0.3)
    objective = ObjectiveConfig(spr_initial=0.05, target_active_rate=0.9, hae_mode="smooth")
    config = make_config(gradient_accumulation=2, objective=objective)
    state, frozen = start(model, config, MESHES[ONE])
    batch, key = make_batch(0), jax.random.key(5)

    def written_out(trainable):
        micro_batches = split_micro_batches(batch, 2)
        runs = []
        for index in range(2):
            micro_batch = jax.tree.map(lambda array, index=index: array[index], micro_batches)
            runs.append(forward(trainable, frozen, micro_batch, jax.random.fold_in(key, index), model=model, config=config))
        tokens = TokenSums(*(sum(sums) for sums in zip(*(tokens for tokens, _ in runs), strict=True)))
        statistics = jax.tree.map(lambda *leaves: sum(leaves) / 2, *(statistics for _, statistics in runs))
        return total_loss(mean_loss(tokens), statistics, state.spr, config.objective)

    (loss, (parts, spr)), expected = jax.jit(jax.value_and_grad(written_out, has_aux=True))(state.trainable)
    accumulate = jax.jit(functools.partial(accumulated_gradients, model=model, config=config))
    gradients, outcome = accumulate(state.trainable, frozen, batch, state.spr, key)
    assert parts["hae_loss"] > 0
    assert_trees_close(gradients, expected)
    assert_trees_close((outcome.loss, outcome.parts, outcome.spr), (loss, parts, spr))


@pytest.mark.parametrize(("mesh", "gradient_accumulation"), [((8, 1, 1), 1), ((1, 8, 1), 1), (CUBE, 2)])
def test_eight_devices_compute_what_one_does(mesh: tuple[int, int, int], gradient_accumulation: int):
    state, frozen = training(mesh, gradient_accumulation).start()
    for params in (state.trainable, frozen):
        leaves = jax.tree.leaves(params)
        split = {axis for leaf in leaves for axis in leaf.sharding.spec if axis and MESHES[mesh].shape[axis] > 1}
        assert split == {axis for axis in ("fsdp", "tensor") if MESHES[mesh].shape[axis] > 1}
        assert any(not leaf.is_fully_replicated for leaf in leaves) == bool(split)
    one, eight = run(ONE, 1, 20), run(mesh, gradient_accumulation, 20)
    assert len({metrics["spr_coefficient"].item() for metrics in one.history}) == 20  # equality would say little if it stood still
    assert_trees_close(eight.first_opt_state, one.first_opt_state)  # moments after one step are the gradients, scaled
    assert_trees_close(eight.history, one.history)
    assert_trees_close((eight.state.trainable, eight.state.spr), (one.state.trainable, one.state.spr))


def test_logits_in_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(language_modelling, "MOST_LOGITS", QUESTIONS * VOCAB)  # 6 chunks of 2 positions
    in_chunks = Training(CUBE, 1)
    state, metrics = in_chunks.step(*in_chunks.start(), in_chunks.batch(0))
    whole = run(ONE, 1, 20)
    assert_trees_close(metrics, whole.history[0])
    assert_trees_close(jax.tree.map(np.asarray, state.opt_state), whole.first_opt_state)  # moments are the gradients, scaled


def test_every_trainable_parameter_gets_a_gradient():
    for _, moments in optax.tree.get_all_with_path(run(ONE, 1).state.opt_state, "mu"):
        assert all(np.any(leaf) for leaf in jax.tree.leaves(moments))


def test_training_lowers_the_loss():
    compiled = training(ONE, 1)
    state, frozen = compiled.start()
    batch, losses = compiled.batch(0), []
    for _ in range(30):
        state, metrics = compiled.step(state, frozen, batch)
        losses.append(float(metrics["lm_loss"]))
    assert losses[-1] < 0.8 * losses[0]


def test_metrics_are_float32_scalars_and_consistent():
    state, _, history = run(ONE, 1)
    first = history[0]
    assert set(first) == {
        *("loss", "lm_loss", "spr_loss", "hae_loss", "active_rate", "spr_coefficient", "grad_norm"),
        *("token_accuracy", "num_target_tokens", "finite", "learning_rate"),
        *(f"{name}/{module}" for name in ("active_rate", "spr_coefficient") for module in MODULES),
    }
    assert all(value.dtype == np.float32 and value.shape == () for value in first.values())
    np.testing.assert_allclose(first["loss"], first["lm_loss"] + first["spr_loss"] + first["hae_loss"], rtol=1e-6)
    assert first["num_target_tokens"] == np.sum(make_batch(0)["labels"][..., 1:] != -100)
    np.testing.assert_allclose(history[-1]["spr_coefficient"], state.spr.coefficient.mean(), rtol=1e-6)
    assert [history[-1][f"spr_coefficient/{module}"] for module in MODULES] == state.spr.coefficient.tolist()
    np.testing.assert_allclose(first["active_rate"], np.mean([first[f"active_rate/{module}"] for module in MODULES]), rtol=1e-6)
    assert len({float(first[f"active_rate/{module}"]) for module in MODULES}) == len(MODULES)
    rates = [metrics["learning_rate"] for metrics in history]
    np.testing.assert_allclose(rates, 1e-2 * np.array([0.5, 1, 1, 37 / 38, 36 / 38]), rtol=1e-6)
    assert 0 < first["active_rate"] < 1
    assert state.step == NUM_STEPS
    assert state.spr.coefficient.shape == (len(MODULES),)


@pytest.mark.parametrize("gradient_accumulation", [1, 4])
def test_batch_that_is_not_finite_changes_nothing_but_the_step(gradient_accumulation: int):
    compiled = training(ONE, gradient_accumulation)
    state, frozen = compiled.start()
    state, _ = compiled.step(state, frozen, compiled.batch(0))
    before = jax.tree.map(np.array, state)
    bad = make_batch(1)
    bad["video"][3] = np.inf
    state, metrics = compiled.step(state, frozen, put_batch(bad, compiled.mesh))
    assert metrics["finite"] == 0
    jax.tree.map(np.testing.assert_array_equal, state._replace(step=before.step), before)
    assert state.step == before.step + 1
    state, metrics = compiled.step(state, frozen, compiled.batch(2))
    assert metrics["finite"] == 1
    assert np.any(np.asarray(state.trainable["subject_tokens"]) != before.trainable["subject_tokens"])


def test_compiles_once_donates_the_state_alone_and_keeps_its_layout():
    run(CUBE, 2)
    compiled = training(CUBE, 2)
    assert compiled.model.num_traces == 2  # the two passes of accumulation
    state, frozen = compiled.start()
    previous, placed = state, jax.tree.map(lambda leaf: leaf.sharding, state)
    state, _ = compiled.step(state, frozen, compiled.batch(0))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(previous))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(frozen))
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == placed
    assert compiled.model.num_traces == 2


def test_moments_lie_where_their_parameter_lies():
    state, _ = training(CUBE, 2).start()
    placed = jax.tree.map(lambda leaf: leaf.sharding.spec, state)
    assert placed.trainable["language_model"]["lm_head"]["lora_a"] == P("fsdp", None)
    for name in ("mu", "nu"):
        moments = {jax.tree_util.keystr(path): tree for path, tree in optax.tree.get_all_with_path(placed.opt_state, name)}
        lora = next(tree for path, tree in moments.items() if "lora" in path)
        assert lora["language_model"]["lm_head"] == placed.trainable["language_model"]["lm_head"]


class KeyProbe:
    """A model without routed modules whose loss is a function of the dropout key."""

    def apply(self, variables, inputs, *_, method: str, deterministic: bool, rngs, positions=None) -> Any:
        assert not deterministic
        if method == "head":
            return inputs
        noise = (jax.random.key_data(rngs["dropout"]) % 1024).astype(jnp.float32) / 1024
        logits = jnp.concatenate([noise, 0.0 * variables["params"]["subject_tokens"]])
        return Output(jnp.broadcast_to(logits, (*positions.shape, *logits.shape)), {})


def probe_config(seed: int) -> TrainConfig:
    config = make_config(seed=seed)
    without_routers = dataclasses.replace(config.model.qformer, num_layers=1)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, qformer=without_routers))


def probe_state(config: TrainConfig) -> TrainState:
    trainable = jax.device_put({"subject_tokens": np.zeros(14, np.float32)}, replicated(MESHES[ONE]))
    return create_train_state(trainable, config, MESHES[ONE])


def test_dropout_follows_from_seed_and_step():
    batch, losses = put_batch(make_batch(0), MESHES[ONE]), []
    for seed in (0, 1):
        config = probe_config(seed)
        step = make_train_step(KeyProbe(), config, MESHES[ONE])
        for first_step in (0, 1, 0):
            state = probe_state(config)
            _, metrics = step(state._replace(step=state.step + first_step), {}, batch)
            losses.append(float(metrics["loss"]))
    assert losses[0] == losses[2] and losses[3] == losses[5]
    assert len(set(losses)) == 4


def test_runs_that_differ_in_their_seed_share_one_program():
    """So the second of them finds the first one's in JAX's persistent cache."""
    programs = set()
    for seed in (0, 1):
        state, batch = probe_state(probe_config(seed)), put_batch(make_batch(0), MESHES[ONE])
        with mesh_context(MESHES[ONE]):
            lowered = jit_train_step(KeyProbe(), probe_config(seed), MESHES[ONE], state).lower(state, {}, batch, dropout_stream(seed))
        programs.add(lowered.as_text())
    assert len(programs) == 1


def test_micro_batches_hold_every_row_once():
    micro_batches = split_micro_batches(make_batch(0), 4)["input_ids"]
    assert micro_batches.shape[:2] == (4, BATCH // 4)
    rows = [row.tobytes() for row in np.asarray(micro_batches).reshape(BATCH, -1)]
    assert sorted(rows) == sorted(row.tobytes() for row in make_batch(0)["input_ids"].reshape(BATCH, -1))


def test_batch_that_does_not_divide_is_refused_before_training():
    with pytest.raises(UserError, match=r"batch_size 8 .* use a multiple of 16"):
        make_train_step(StandIn(), make_config(gradient_accumulation=4), MESHES[CUBE])
