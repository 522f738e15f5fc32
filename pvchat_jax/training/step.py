"""One training step: pure loss, pure update, and the compiled shell last.

The loss is a mean over the target tokens and the routers of the *global* batch. Gradient accumulation
keeps it so: see `accumulated_gradients`.
"""

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.objectives.language_modelling import (
    TokenSums,
    count_target_tokens,
    mean_loss,
    next_tokens,
    token_accuracy,
    token_sums_of_states,
)
from pvchat_jax.objectives.routing import RoutingStatistics, routing_statistics
from pvchat_jax.objectives.spr import SPRState
from pvchat_jax.objectives.total import regularisation_loss, total_loss
from pvchat_jax.sharding import check_batch_size, constrain, mesh_context, replicated
from pvchat_jax.training.optimizer import make_optimizer, schedule_factor
from pvchat_jax.training.partition import Params, join_params, trainable_groups
from pvchat_jax.training.state import TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


class Outcome(NamedTuple):
    """Everything about a batch except its gradients.

    Attributes:
      loss: float32[], what the gradients belong to.
      parts: `lm_loss`, `spr_loss`, `hae_loss`, float32[] each.
      spr: state after the batch.
      statistics: routing over the whole batch.
      tokens: sums over the whole batch.
    """

    loss: jax.Array
    parts: dict[str, jax.Array]
    spr: SPRState
    statistics: RoutingStatistics
    tokens: TokenSums


def dropout_stream(seed: int) -> jax.Array:
    """Key that follows from the run's seed and the stream's name; that of a step follows from it and the step."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"dropout"))


def forward(
    trainable: Params, frozen: Params, batch: Batch, key: jax.Array, *, model: Any, config: TrainConfig
) -> tuple[TokenSums, RoutingStatistics]:
    """Model outputs reduced to what the loss needs, with dropout.

    Args:
      batch: video float[B, N, T, H, W, 3], or features or lower_features [B, N, L, D] of it (`TrainConfig.stored_features`);
        input_ids, attention_mask, labels, video_mask [B, K, S]; answer_positions int32[B, K, A] (data/conversation.py).
      key: of the `dropout` stream.
      model: object with `apply` as of `pvchat_jax.models.pvchat.PVChat`.
    """
    stored = {name: batch[name].astype(config.compute_dtype) for name in ("features", "lower_features") if name in batch}
    variables = {"params": join_params(trainable, frozen)}
    output = model.apply(
        variables,
        None if stored else batch["video"],
        batch["input_ids"],
        batch["attention_mask"],
        batch["video_mask"],
        positions=batch["answer_positions"],
        deterministic=False,
        rngs={"dropout": key},
        method="hidden_states",
        **stored,
    )

    def logits_of(states: jax.Array, chunk: jax.Array | None) -> jax.Array:
        own = key if chunk is None else jax.random.fold_in(key, chunk)
        return model.apply(variables, states, deterministic=False, rngs={"dropout": own}, method="head")

    modules = config.model.qformer.routed_modules
    targets = jnp.take_along_axis(next_tokens(batch["labels"]), batch["answer_positions"], axis=-1)  # [B, K, A]
    return token_sums_of_states(logits_of, output.states, targets), routing_statistics(output.routing, modules, config.objective.hae_slope)


def forward_with_loss(
    trainable: Params, frozen: Params, batch: Batch, spr: SPRState, key: jax.Array, *, model: Any, config: TrainConfig
) -> tuple[jax.Array, Outcome]:
    """Loss of a whole batch, to be differentiated by its first argument: float32[] and the rest of the outcome."""
    tokens, statistics = forward(trainable, frozen, batch, key, model=model, config=config)
    loss, regularisation = total_loss(mean_loss(tokens), statistics, spr, config.objective)
    return loss, Outcome(loss, regularisation.parts, regularisation.spr, statistics, tokens)


def whole_batch_gradients(
    trainable: Params, frozen: Params, batch: Batch, spr: SPRState, key: jax.Array, *, model: Any, config: TrainConfig
) -> tuple[Params, Outcome]:
    """Gradients of `forward_with_loss` with respect to the trainable tree, and the outcome."""
    loss_of = functools.partial(forward_with_loss, model=model, config=config)
    (_, outcome), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, frozen, batch, spr, jax.random.fold_in(key, 0))
    return gradients, outcome


def accumulated_gradients(
    trainable: Params, frozen: Params, batch: Batch, spr: SPRState, key: jax.Array, *, model: Any, config: TrainConfig
) -> tuple[Params, Outcome]:
    """The same gradients and outcome from `optimizer.gradient_accumulation` micro-batches, one at a time.

    Regularisation is not a sum over samples, but it is a function of routing statistics that are means over
    equally large micro-batches. So a first pass collects the statistics of the whole batch (nothing of the
    language model survives in it: only routers are read, and the compiler drops the rest). The chain rule
    through the statistics then splits exactly: with c = d regularisation / d statistics, each micro-batch
    contributes the gradient of <c, its statistics> / count.
    """
    count = config.optimizer.gradient_accumulation
    micro_batches = split_micro_batches(batch, count)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(count))
    run = functools.partial(forward, model=model, config=config)

    def collect(_: None, xs: tuple[Batch, jax.Array]) -> tuple[None, RoutingStatistics]:
        return None, run(trainable, frozen, *xs)[1]

    _, collected = jax.lax.scan(collect, None, (micro_batches, keys))
    statistics = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), collected)
    regularise = jax.value_and_grad(regularisation_loss, has_aux=True)
    (router_loss, regularisation), cotangents = regularise(statistics, spr, config.objective)
    num_tokens = jnp.maximum(count_target_tokens(batch["labels"]), 1.0)

    def share_of_loss(trainable: Params, micro_batch: Batch, key: jax.Array) -> tuple[jax.Array, TokenSums]:
        tokens, own = run(trainable, frozen, micro_batch, key)
        return tokens.negative_log_likelihood / num_tokens + optax.tree.vdot(cotangents, own) / count, tokens

    def accumulate(carry: tuple[Params, TokenSums], xs: tuple[Batch, jax.Array]) -> tuple[tuple[Params, TokenSums], None]:
        gradients, tokens = jax.grad(share_of_loss, has_aux=True)(trainable, *xs)
        return jax.tree.map(jnp.add, carry, (gradients, tokens)), None

    start = (jax.tree.map(jnp.zeros_like, trainable), TokenSums(*(jnp.zeros((), jnp.float32),) * 3))
    (gradients, tokens), _ = jax.lax.scan(accumulate, start, (micro_batches, keys))
    parts = {"lm_loss": mean_loss(tokens), **regularisation.parts}
    return gradients, Outcome(parts["lm_loss"] + router_loss, parts, regularisation.spr, statistics, tokens)


def split_micro_batches(batch: Batch, count: int) -> dict[str, jax.Array]:
    """`[B, ...]` -> `[count, B / count, ...]`; micro-batch i holds rows i, i + count, ...

    Striding leaves each device an equal share of every micro-batch without moving rows between devices.
    """

    def split(array: jax.Array) -> jax.Array:
        strided = array.reshape(-1, count, *array.shape[1:])
        return constrain(jnp.swapaxes(strided, 0, 1), None, "batch")

    return {name: split(array) for name, array in batch.items()}


def train_step(
    state: TrainState,
    frozen: Params,
    batch: Batch,
    stream: jax.Array,
    *,
    model: Any,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
) -> tuple[TrainState, Metrics]:
    """One update, as a pure function.

    A loss or gradient that is not finite leaves everything but the step as it was and reports `finite` 0;
    the optimizer's own counters then lag behind the step by one.

    Args:
      stream: `dropout_stream` of the run. It is data, so that runs which differ in nothing but their seed share one
        compiled program, and with it one entry of JAX's persistent cache.

    Returns:
      The next state and float32[] metrics: loss, lm_loss, spr_loss, hae_loss, active_rate and spr_coefficient
      (means over routed modules, and one by one as `active_rate/6.self`), grad_norm (before clipping),
      token_accuracy, num_target_tokens, finite, learning_rate (of the first group that trains).
    """
    key = jax.random.fold_in(stream, state.step)
    gradients_of = whole_batch_gradients if config.optimizer.gradient_accumulation == 1 else accumulated_gradients
    gradients, outcome = gradients_of(state.trainable, frozen, batch, state.spr, key, model=model, config=config)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.trainable)
    candidate = (optax.apply_updates(state.trainable, updates), opt_state, outcome.spr)
    grad_norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(outcome.loss) & jnp.isfinite(grad_norm)
    unchanged = (state.trainable, state.opt_state, state.spr)
    trainable, opt_state, spr = jax.tree.map(functools.partial(jnp.where, finite), candidate, unchanged)
    metrics = {
        "loss": outcome.loss,
        **outcome.parts,
        "active_rate": _mean(outcome.statistics.active_rate),
        "spr_coefficient": _mean(outcome.spr.coefficient),
        **_per_module("active_rate", outcome.statistics.active_rate, config),
        **_per_module("spr_coefficient", outcome.spr.coefficient, config),
        "grad_norm": grad_norm,
        "token_accuracy": token_accuracy(outcome.tokens),
        "num_target_tokens": outcome.tokens.count,
        "finite": finite.astype(jnp.float32),
        "learning_rate": _main_learning_rate(config, state.step),
    }
    return TrainState(state.step + 1, trainable, opt_state, spr), metrics


def _mean(values: jax.Array) -> jax.Array:
    """Mean over modules, 0 for a model without routed modules."""
    return jnp.sum(values) / max(values.size, 1)


def _per_module(name: str, values: jax.Array, config: TrainConfig) -> Metrics:
    """`values: float32[M]` by metric name, such as `active_rate/6.self`; without modules the state's idle entry is left out."""
    return {f"{name}/{module}": value for module, value in zip(config.model.qformer.routed_modules, values, strict=False)}


def _main_learning_rate(config: TrainConfig, step: jax.Array) -> jax.Array:
    peak = config.optimizer.learning_rates[trainable_groups(config.optimizer)[0]]
    return peak * schedule_factor(config.optimizer, config.num_steps, step)


def jit_train_step(model: Any, config: TrainConfig, mesh: Mesh, state: TrainState) -> Callable[..., Any]:
    """`train_step` compiled for states placed like `state`, which may be abstract; the state is donated.

    To be called, or lowered ahead of time, inside `mesh_context(mesh)`.
    """
    step = functools.partial(train_step, model=model, optimizer=make_optimizer(config.optimizer, config.num_steps), config=config)
    # Pinned, since a state that came back in another layout would compile the step again.
    state_shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, replicated(mesh)))


def make_train_step(model: Any, config: TrainConfig, mesh: Mesh) -> Callable[[TrainState, Params, Batch], tuple[TrainState, Metrics]]:
    """The step as the loop calls it: `(state, frozen, batch) -> (state, metrics)`.

    It compiles once, for the layout of the first state it sees, and takes that state's buffers over. Metrics
    stay on the device, so a caller decides when to wait for them.

    Raises:
      UserError: `data.batch_size` does not divide over the mesh and the micro-batches.
    """
    check_batch_size(config.data.batch_size, mesh, config.optimizer.gradient_accumulation)
    # compiled, so that every process makes its own part of an array that spans processes
    stream = jax.jit(functools.partial(dropout_stream, config.seed), out_shardings=replicated(mesh))()
    compiled: Callable[..., Any] | None = None

    def step(state: TrainState, frozen: Params, batch: Batch) -> tuple[TrainState, Metrics]:
        nonlocal compiled
        if compiled is None:
            compiled = jit_train_step(model, config, mesh, state)
        with mesh_context(mesh):
            return compiled(state, frozen, batch, stream)

    return step
