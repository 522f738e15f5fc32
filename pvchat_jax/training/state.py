"""What a training step reads and writes, and what a checkpoint must hold to continue exactly."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.objectives.spr import SPRState, initial_spr_state
from pvchat_jax.sharding import replicated
from pvchat_jax.training.optimizer import make_optimizer
from pvchat_jax.training.partition import Params


class TrainState(NamedTuple):
    """State of training. Random keys are not in it: they follow from the seed and the step.

    Attributes:
      step: int32[], batches consumed.
      trainable: nested dict of float32 arrays; the frozen tree stays outside the state.
      opt_state: optimizer state of `trainable`.
      spr: adaptive numbers of the router regularisation.
    """

    step: jax.Array
    trainable: Params
    opt_state: optax.OptState
    spr: SPRState


def create_train_state(trainable: Params, config: TrainConfig, mesh: jax.sharding.Mesh) -> TrainState:
    """State before the first step, every leaf placed on `mesh`.

    Args:
      trainable: first result of `split_params`, already placed on `mesh`. The state takes these arrays over;
        the training step donates them.
    """
    rest, shardings = _rest_of_state(trainable, config, mesh)
    # compiled, so that every process makes its own part of arrays that span processes
    step, opt_state, spr = jax.jit(rest, out_shardings=shardings)(trainable)
    return TrainState(step=step, trainable=trainable, opt_state=opt_state, spr=spr)


def abstract_train_state(trainable: Params, config: TrainConfig, mesh: jax.sharding.Mesh) -> TrainState:
    """What `create_train_state` makes, as shapes, dtypes and shardings, without any memory.

    Args:
      trainable: abstract too, as of `initialise.abstract_params`; `mesh` may be of devices that are not there.
    """
    rest, shardings = _rest_of_state(trainable, config, mesh)
    shapes = jax.eval_shape(rest, trainable)

    def place(leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    step, opt_state, spr = jax.tree.map(place, shapes, jax.tree.broadcast(shardings, shapes))
    return TrainState(step=step, trainable=trainable, opt_state=opt_state, spr=spr)


def _rest_of_state(trainable: Params, config: TrainConfig, mesh: jax.sharding.Mesh) -> tuple[Callable[[Params], Any], Any]:
    """What makes (step, opt_state, spr) of a run from its trainable parameters, and where these lie."""
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    num_modules = len(config.model.qformer.routed_modules)

    def rest(trainable: Params) -> tuple[jax.Array, optax.OptState, SPRState]:
        return jnp.zeros((), jnp.int32), optimizer.init(trainable), initial_spr_state(config.objective, num_modules)

    return rest, (replicated(mesh), _opt_state_shardings(optimizer, trainable, mesh), replicated(mesh))


def _opt_state_shardings(optimizer: optax.GradientTransformation, trainable: Params, mesh: jax.sharding.Mesh) -> Any:
    """Moments lie where their parameter lies; counters are replicated."""
    placed = {path: parameter.sharding for path, parameter in jax.tree.leaves_with_path(trainable)}

    def place(path: tuple[Any, ...], _: jax.ShapeDtypeStruct) -> jax.sharding.Sharding:
        # a moment's path is the optimizer's own followed by its parameter's
        endings = (path[start:] for start in range(len(path)))
        return next((placed[ending] for ending in endings if ending in placed), replicated(mesh))

    return jax.tree.map_with_path(place, jax.eval_shape(optimizer.init, trainable))
