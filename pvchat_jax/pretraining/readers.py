"""Linear readers: what each vision token says about the person it shows, its pose and the scene.

They give the vision encoder its dense labels in pretraining, and later read the looks of a person off a video.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pvchat_jax.pretraining.truth import PERSON_CLASSES, POSE_SCALES, SCENE_CLASSES

Params = Mapping[str, Any]

# Columns of the one matrix that all readers share: `occupied` (background, person), each class, the scene, the pose.
GROUPS: Mapping[str, int] = {
    "occupied": 2,
    **{name: len(classes) for name, classes in PERSON_CLASSES.items()},
    "scene": len(SCENE_CLASSES),
    "pose": len(POSE_SCALES),
}
NUM_OUTPUTS = sum(GROUPS.values())
# At weight 1 the pose is not learnt at all (R2 of 0 for what moves sideways), and without it neither are action and gait.
POSE_WEIGHT = 10.0


class TokenLabels(NamedTuple):
    """Truth of every token.

    Attributes:
      person: int32[B, L, C] class numbers, -1 on background tokens.
      pose: float32[B, L, 10].
      scene: int32[B].
    """

    person: jax.Array
    pose: jax.Array
    scene: jax.Array


def init_readers(key: jax.Array, width: int, num_outputs: int = NUM_OUTPUTS) -> Params:
    """One linear layer `float[width, num_outputs]` with bias."""
    return {"kernel": jax.random.normal(key, (width, num_outputs)) * width**-0.5, "bias": jnp.zeros(num_outputs)}


def read(readers: Params, tokens: jax.Array, groups: Mapping[str, int] = GROUPS) -> dict[str, jax.Array]:
    """`float[..., D]` tokens to the outputs of each group, `float[..., size]`."""
    outputs = tokens @ readers["kernel"] + readers["bias"]
    ends = np.cumsum(list(groups.values()))
    return dict(zip(groups, jnp.split(outputs, ends[:-1], axis=-1), strict=True))


def token_labels(person: jax.Array, heads: jax.Array, bodies: jax.Array, poses: jax.Array, scene: jax.Array, grid_size: int) -> TokenLabels:
    """Labels of the tokens of a clip in order time, row, column.

    A token belongs to the person whose head its centre is in, else to the one whose body it is in; the person comes before
    the bystander, who stands behind.

    Args:
      person: int[B, P, C]. heads, bodies: float[B, P, T, 4]. poses: float[B, P, T, 10]. scene: int[B].
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
    pose = jnp.moveaxis(poses, 1, 2)[jnp.arange(batch)[:, None], frame[None], whose]  # [B, L, 10]
    return TokenLabels(jnp.where(owner[..., None] >= 0, of_person, -1), pose, scene.astype(jnp.int32))


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


def read_person(readers: Params, tokens: jax.Array) -> dict[str, jax.Array]:
    """What the tokens of clips with one person say about that person.

    Args:
      tokens: float[..., L, D] features without cls.

    Returns:
      Mean log-probabilities float[..., size] of each group of `PERSON_CLASSES`, over tokens as far as they show somebody.
    """
    outputs = read(readers, tokens)
    weight = jax.nn.softmax(outputs["occupied"], axis=-1)[..., 1:]  # [..., L, 1]
    weight /= jnp.maximum(weight.sum(axis=-2, keepdims=True), 1e-6)
    return {name: jnp.sum(weight * jax.nn.log_softmax(outputs[name], axis=-1), axis=-2) for name in PERSON_CLASSES}


def reader_loss(outputs: Mapping[str, jax.Array], labels: TokenLabels) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`person_loss` of all tokens of a clip but cls, and the errors of scene and pose (mean square, in units of `POSE_SCALES`)."""
    loss, accuracies = person_loss(outputs, labels.person)
    is_person = labels.person[..., 0] >= 0
    scene = jnp.broadcast_to(labels.scene[:, None], is_person.shape)
    loss += jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs["scene"], scene))
    accuracies["accuracy/scene"] = jnp.mean(jnp.argmax(outputs["scene"], -1) == scene)
    squares = jnp.mean(jnp.square(outputs["pose"] - labels.pose), axis=-1)
    accuracies["pose_error"] = jnp.sum(squares * is_person) / jnp.maximum(is_person.sum(), 1)
    return loss + POSE_WEIGHT * accuracies["pose_error"], accuracies
