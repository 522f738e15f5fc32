"""Pretraining of the vision encoder on dense labels: first single frames, then video."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from pvchat_jax.models.layers import LayerNorm
from pvchat_jax.models.pvchat import PVChat
from pvchat_jax.pretraining.readers import init_readers, read, reader_loss, token_labels
from pvchat_jax.training.optimizer import schedule_factor
from pvchat_jax.training.state import TrainState

Batch = Mapping[str, jax.Array]
Params = dict[str, Any]


def init_vision(model: PVChat, params: Params, key: jax.Array) -> Params:
    """The trainable tree of these phases: the vision part of `params` and new readers."""
    vision = {name: params[name] for name in ("vision_encoder", "vision_norm")}
    return vision | {"readers": init_readers(key, params["vision_norm"]["scale"].shape[0])}


def hand_over_positions(before: Params, after: Params) -> Params:
    """The trainable tree for the video phase: what single frames taught about positions holds for every frame of a video.

    Single frames use and train `img_pos_embed` alone. Its change from `before` to `after` the image phase is added to each frame of
    `pos_embed`; without that, video would begin with positions that the trained blocks have never met.
    """
    old, new = before["vision_encoder"], after["vision_encoder"]
    change = new["img_pos_embed"] - old["img_pos_embed"]  # [1, 1 + G * G, D]
    num_frames = (new["pos_embed"].shape[1] - 1) // (change.shape[1] - 1)
    of_video = jnp.concatenate([change[:, :1], *[change[:, 1:]] * num_frames], axis=1)  # [1, 1 + T * G * G, D]
    return after | {"vision_encoder": new | {"pos_embed": new["pos_embed"] + of_video}}


def normalise(pixels: jax.Array) -> jax.Array:
    """`uint8[..., 3]` pixels as the model's input, float32."""
    return (pixels.astype(jnp.float32) / 255.0 - IMAGENET_MEAN) / IMAGENET_STD


def encode(model: PVChat, params: Params, video: jax.Array) -> jax.Array:
    """`float[B, T, H, W, 3] -> float[B, 1 + L, D]` features, cls first, from a tree that has the vision part alone."""
    features = model.vision_encoder.apply({"params": params["vision_encoder"]}, video)
    return LayerNorm(model.vision_norm_eps).apply({"params": params["vision_norm"]}, features)


def vision_loss(params: Params, batch: Batch, *, model: PVChat, config: TrainConfig) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Dense loss of a batch with `pixels uint8[B, T, H, W, 3]` and the fields of `truth.Labels`."""
    features = encode(model, params, normalise(batch["pixels"]))
    grid_size = config.model.vision.grid_size
    labels = token_labels(*(batch[name] for name in ("person", "heads", "bodies", "points", "poses", "scene")), grid_size)
    return reader_loss(read(params["readers"], features[:, 1:]), labels, batch["person"])


def vision_step(
    state: TrainState, batch: Batch, *, model: PVChat, optimizer: optax.GradientTransformation, config: TrainConfig
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update, as a pure function; metrics are `loss`, `grad_norm`, `learning_rate`, `finite` and the readers' accuracies."""
    loss_of = functools.partial(vision_loss, model=model, config=config)
    (loss, accuracies), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.trainable, batch)
    return apply_gradients(state, loss, gradients, accuracies, optimizer=optimizer, config=config)


def apply_gradients(
    state: TrainState,
    loss: jax.Array,
    gradients: Params,
    metrics: dict[str, jax.Array],
    *,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The next state, and `metrics` with what the training loop reports."""
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.trainable)
    grad_norm = optax.tree.norm(gradients)
    metrics = metrics | {
        "loss": loss,
        "grad_norm": grad_norm,
        "finite": (jnp.isfinite(loss) & jnp.isfinite(grad_norm)).astype(jnp.float32),
        "learning_rate": config.optimizer.base * schedule_factor(config.optimizer, config.num_steps, state.step),
    }
    trainable = optax.apply_updates(state.trainable, updates)
    return state._replace(step=state.step + 1, trainable=trainable, opt_state=opt_state), metrics
