"""Linear readers: what each vision token says about the person it shows, where that person's head and hands are, and the scene.

They give the vision encoder its dense labels in pretraining, and later read the looks of a person off a video.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pvchat_jax.pretraining.truth import PERSON_CLASSES, POINTS, POSE_CLASSES, SCENE_CLASSES

Params = Mapping[str, Any]

OFFSET_STEP = 1 / 32  # of the picture; where a point is, as seen from a token, is a number of such steps
_MAX_STEPS = 16
NUM_OFFSETS = 2 * _MAX_STEPS + 1
OFFSETS_WEIGHT = 0.25  # of the sum over both coordinates of all points
MOMENTS = 2  # of poses: the token's own frame and the next one (after the last comes the first), so that tokens look along time

# Columns of the one matrix that all readers share: `occupied` (background, person), each class, how far the token's word on each
# class is to be trusted, the scene, the offsets of the points in x and y, and the poses.
GROUPS: Mapping[str, int] = {
    "occupied": 2,
    **{name: len(classes) for name, classes in PERSON_CLASSES.items()},
    "trust": len(PERSON_CLASSES),
    "scene": len(SCENE_CLASSES),
    "offsets": len(POINTS) * 2 * NUM_OFFSETS,
    **{f"{name} {later}": size for later in range(MOMENTS) for name, size in POSE_CLASSES.items()},
}
NUM_OUTPUTS = sum(GROUPS.values())


class TokenLabels(NamedTuple):
    """Truth of every token.

    Attributes:
      owner: int32[B, L], which person it shows, -1 on background tokens.
      person: int32[B, L, C] class numbers, -1 on background tokens.
      offsets: int32[B, L, 4, 2], from the token to each of the owner's `POINTS` in x and y; from 0 to `NUM_OFFSETS`, of which the
        middle is "here".
      poses: int32[B, L, 2 * 10], the owner's `POSE_CLASSES` at each of `MOMENTS`.
      scene: int32[B].
    """

    owner: jax.Array
    person: jax.Array
    offsets: jax.Array
    poses: jax.Array
    scene: jax.Array


def init_readers(key: jax.Array, width: int, num_outputs: int = NUM_OUTPUTS) -> Params:
    """One linear layer `float[width, num_outputs]` with bias."""
    return {"kernel": jax.random.normal(key, (width, num_outputs)) * width**-0.5, "bias": jnp.zeros(num_outputs)}


def read(readers: Params, tokens: jax.Array, groups: Mapping[str, int] = GROUPS) -> dict[str, jax.Array]:
    """`float[..., D]` tokens to the outputs of each group, `float[..., size]`."""
    outputs = tokens @ readers["kernel"] + readers["bias"]
    ends = np.cumsum(list(groups.values()))
    return dict(zip(groups, jnp.split(outputs, ends[:-1], axis=-1), strict=True))


def token_labels(
    person: jax.Array, heads: jax.Array, bodies: jax.Array, points: jax.Array, poses: jax.Array, scene: jax.Array, grid_size: int
) -> TokenLabels:
    """Labels of the tokens of a clip in order time, row, column.

    A token belongs to the person whose head its centre is in, else to the one whose body it is in; the person comes before
    the bystander, who stands behind.

    Args:
      person: int[B, P, C]. heads, bodies: float[B, P, T, 4]. points: float[B, P, T, 4, 2].
      poses: int[B, P, T, 10]. scene: int[B].
    """
    batch, people, time = heads.shape[:3]
    centres = (jnp.arange(grid_size) + 0.5) / grid_size
    boxes = jnp.concatenate([heads, bodies], axis=1)[:, :, :, None, None, :]  # [B, 2P, T, 1, 1, 4]
    across = (centres >= boxes[..., 0]) & (centres <= boxes[..., 2])  # [B, 2P, T, 1, G]
    down = (centres[:, None] >= boxes[..., 1]) & (centres[:, None] <= boxes[..., 3])  # [B, 2P, T, G, 1]
    inside = jnp.moveaxis(across & down, 1, -1)  # [B, T, G, G, 2P]
    owner = jnp.argmax(inside, axis=-1) % people
    owner = jnp.where(inside.any(axis=-1), owner, -1).reshape(batch, -1)  # [B, L]
    whose = jnp.maximum(owner, 0)
    of_person = jnp.take_along_axis(person.astype(jnp.int32), whose[..., None], axis=1)  # [B, L, C]
    frame = jnp.repeat(jnp.arange(time), grid_size**2)
    owners = (jnp.arange(batch)[:, None], whose, frame[None])
    here = jnp.stack(jnp.meshgrid(centres, centres), axis=-1).reshape(-1, 1, 2)  # [G * G, 1, 2] of x, y
    steps = jnp.round((points[owners] - jnp.tile(here, (time, 1, 1))) / OFFSET_STEP)  # [B, L, 4, 2]
    offsets = jnp.clip(steps, -_MAX_STEPS, _MAX_STEPS).astype(jnp.int32) + _MAX_STEPS
    moments = jnp.concatenate([jnp.roll(poses, -later, axis=2) for later in range(MOMENTS)], axis=-1)  # [B, P, T, 2 * 10]
    of_body = moments[owners].astype(jnp.int32)
    return TokenLabels(owner, jnp.where(owner[..., None] >= 0, of_person, -1), offsets, of_body, scene.astype(jnp.int32))


def person_loss(outputs: Mapping[str, jax.Array], person: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of whether somebody is there and of who it is, where somebody is.

    Args:
      outputs: of `read`, float[B, L, size].
      person: int[B, L, C] class numbers, -1 where there is nobody.

    Returns:
      float32[] loss, a sum over groups, and `accuracy/<group>`, float32[] each.
    """
    is_person = person[..., 0] >= 0
    weight = is_person / jnp.maximum(is_person.sum(), 1)
    occupied = is_person.astype(jnp.int32)
    loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs["occupied"], occupied))
    accuracies = {"accuracy/occupied": jnp.mean(jnp.argmax(outputs["occupied"], -1) == occupied)}
    for column, name in enumerate(PERSON_CLASSES):
        classes = jnp.maximum(person[..., column], 0)
        loss += jnp.sum(weight * optax.softmax_cross_entropy_with_integer_labels(outputs[name], classes))
        accuracies[f"accuracy/{name}"] = jnp.sum(weight * (jnp.argmax(outputs[name], -1) == classes))
    return loss, accuracies


def pool(outputs: Mapping[str, jax.Array], log_weight: jax.Array) -> dict[str, jax.Array]:
    """What several tokens say together: a mean of their words, weighted by the trust that each puts in its own.

    Args:
      outputs: of `read`, float[..., L, size].
      log_weight: float[..., L], the logarithm of how far each token counts at all.

    Returns:
      Logits float[..., size] of each group of `PERSON_CLASSES`.
    """
    weights = jax.nn.softmax(outputs["trust"] + log_weight[..., None], axis=-2)  # [..., L, C]
    return {name: jnp.sum(weights[..., column, None] * outputs[name], axis=-2) for column, name in enumerate(PERSON_CLASSES)}


def read_person(readers: Params, tokens: jax.Array) -> dict[str, jax.Array]:
    """What the tokens of clips with one person say about that person.

    Args:
      tokens: float[..., L, D] features without cls.

    Returns:
      Log-probabilities float[..., size] of each group of `PERSON_CLASSES`.
    """
    outputs = read(readers, tokens)
    pooled = pool(outputs, jax.nn.log_softmax(outputs["occupied"], axis=-1)[..., 1])
    return {name: jax.nn.log_softmax(logits, axis=-1) for name, logits in pooled.items()}


def reader_loss(outputs: Mapping[str, jax.Array], labels: TokenLabels, person: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`person_loss` of all tokens of a clip but cls and of each person's tokens together, and of scene, offsets and poses.

    Args:
      person: int[B, P, C], classes of the people in the clip, -1 where there is nobody.
    """
    loss, accuracies = person_loss(outputs, labels.person)
    is_person = labels.owner >= 0
    scene = jnp.broadcast_to(labels.scene[:, None], is_person.shape)
    loss += jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs["scene"], scene))
    accuracies["accuracy/scene"] = jnp.mean(jnp.argmax(outputs["scene"], -1) == scene)
    weight = is_person / jnp.maximum(is_person.sum(), 1)
    logits = outputs["offsets"].reshape(*labels.offsets.shape, NUM_OFFSETS)
    errors = jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, labels.offsets), axis=(-2, -1))  # [B, L]
    accuracies["offsets_loss"] = jnp.sum(errors * weight)
    loss += OFFSETS_WEIGHT * accuracies["offsets_loss"]
    for column, name in enumerate(f"{name} {later}" for later in range(MOMENTS) for name in POSE_CLASSES):
        classes = jnp.maximum(labels.poses[..., column], 0)
        loss += jnp.sum(weight * optax.softmax_cross_entropy_with_integer_labels(outputs[name], classes)) / MOMENTS
        accuracies[f"pose/{name}"] = jnp.sum(weight * (jnp.argmax(outputs[name], -1) == classes))
    together, read_right = _pooled_loss(outputs, labels.owner, person)
    return loss + together, accuracies | read_right


def _pooled_loss(outputs: Mapping[str, jax.Array], owner: jax.Array, person: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Each person read as `read_person` does it, but for the other person's tokens, which are left out."""
    numbers = jnp.arange(person.shape[1])[:, None]
    visible = (owner[:, None] == numbers).any(axis=-1)  # [B, P]
    is_other = (owner[:, None] >= 0) & (owner[:, None] != numbers)  # [B, P, L]
    log_weight = jnp.where(is_other, -1e9, jax.nn.log_softmax(outputs["occupied"], axis=-1)[:, None, :, 1])
    pooled = pool({name: values[:, None] for name, values in outputs.items()}, log_weight)
    weight = visible / jnp.maximum(visible.sum(), 1)
    loss, accuracies = jnp.zeros(()), {}
    for column, name in enumerate(PERSON_CLASSES):
        classes = jnp.maximum(person[..., column].astype(jnp.int32), 0)
        loss += jnp.sum(weight * optax.softmax_cross_entropy_with_integer_labels(pooled[name], classes))
        accuracies[f"read/{name}"] = jnp.sum(weight * (jnp.argmax(pooled[name], -1) == classes))
    return loss, accuracies
