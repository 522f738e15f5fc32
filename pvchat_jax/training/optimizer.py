"""AdamW with a learning rate per parameter group (docs/reference.md section 8), clipping and schedules."""

import jax
import jax.numpy as jnp
import optax

from pvchat_jax.config.schema import OptimizerConfig
from pvchat_jax.training.partition import group_labels, trainable_groups


def schedule_factor(config: OptimizerConfig, num_steps: int, step: jax.typing.ArrayLike) -> jax.Array:
    """Share of its peak that every learning rate has at `step`: float32[] in [0, 1].

    Rises linearly over `warmup_steps`, the first step already moving and the last of them at the peak, then
    stays (`constant`) or falls to 0 at `num_steps` (`linear`, `cosine`).
    """
    warmup_steps = config.warmup_steps
    decay_steps = max(num_steps - warmup_steps, 1)
    decay = {
        "constant": optax.constant_schedule(1.0),
        "linear": optax.linear_schedule(1.0, 0.0, decay_steps),
        "cosine": optax.cosine_decay_schedule(1.0, decay_steps),
    }[config.schedule]
    warmup = optax.linear_schedule(1 / max(warmup_steps, 1), 1.0, max(warmup_steps - 1, 1))
    return jnp.asarray(optax.join_schedules([warmup, decay], [warmup_steps])(step), jnp.float32)


def learning_rates_at(config: OptimizerConfig, num_steps: int, step: int) -> dict[str, float]:
    """Learning rate of every group at `step`, 0 for frozen groups."""
    factor = float(schedule_factor(config, num_steps, step))
    return {group: peak * factor for group, peak in config.learning_rates.items()}


def make_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
    """Clipping by the norm over all trainable parameters (`clip_norm` 0: none), then AdamW per group.

    It takes the trainable tree alone; a parameter of a frozen group in there raises ValueError. Weight
    decay acts on every parameter, biases and norms included, as in the reference.
    """

    def adamw(peak: float) -> optax.GradientTransformation:
        return optax.adamw(
            lambda count: peak * schedule_factor(config, num_steps, count),
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
        )

    by_group = optax.partition({group: adamw(config.learning_rates[group]) for group in trainable_groups(config)}, group_labels)
    if config.clip_norm <= 0:
        return by_group
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), by_group)
