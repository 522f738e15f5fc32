"""What a person looks like, read off one video by the readers of the base model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.pretraining.readers import read_person
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.pretraining.vision import encode
from pvchat_jax.training.weights import read_tensors
from pvchat_jax.world.people import IDENTITY_VALUES, Identity, Outfit
from pvchat_jax.world.plan import Subject

_POSSIBLE = 0.1  # from this probability on, a value of an identity attribute is possible
_CLIPS = 4  # read and averaged; together they take every fourth frame, each from another first one


class Looks(NamedTuple):
    """The most probable subject, and by feature the probability of what was chosen."""

    subject: Subject
    confidence: Mapping[str, float]


def read_looks(video: Path, weights: Path, config: TrainConfig) -> Looks:
    """Reads who is in a video with one person.

    Args:
      weights: folder of a base model that has readers.
      config: gives the sizes of the model and of its input.

    Raises:
      UserError: the video or the weights cannot be read, or the weights have no readers.
    """
    params = read_tensors(weights, ("vision_encoder/", "vision_norm/", "readers/"))
    if "readers" not in params:
        raise UserError(f"the weights in {weights} have no readers of people's looks; take those of python -m pvchat_jax.pretrain.")
    model = build_pvchat(config.model)
    num_frames = config.data.num_frames
    frames = read_frames(str(video), num_frames * _CLIPS).frames
    clips = np.stack([preprocess_frames(frames[first::_CLIPS], config.data.image_size, (1, 1))[0] for first in range(_CLIPS)])

    @jax.jit
    def read(params: dict[str, Any], clips: jax.Array) -> dict[str, jax.Array]:
        """A mean, not a sum: the clips are of one video and err together, so that four of them are hardly surer than one."""
        logits = read_person(params["readers"], encode(model, params, clips)[:, 1:])
        return {name: jax.nn.softmax(jnp.mean(values, axis=0)) for name, values in logits.items()}

    probabilities = {name: np.asarray(share) for name, share in read(params, jnp.asarray(clips)).items()}
    return most_probable(probabilities)


def most_probable(probabilities: Mapping[str, np.ndarray]) -> Looks:
    """Looks from the probabilities float[size] of each group of `PERSON_CLASSES`."""
    values = {name: classes[int(np.argmax(probabilities[name]))] for name, classes in PERSON_CLASSES.items()}
    identity = Identity(**{name: values[name] for name in IDENTITY_VALUES})
    outfit = Outfit(colour=values["top_colour"], garment=values["garment"], hat=values["hat"])
    confidence = {name: float(np.max(share)) for name, share in probabilities.items()}
    return Looks(Subject(identity, outfit, _doubts(probabilities)), confidence)


def _doubts(probabilities: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """Identity attributes with several possible values, and these."""
    possible = {
        name: tuple(value for value, share in zip(values, probabilities[name], strict=True) if share >= _POSSIBLE)
        for name, values in IDENTITY_VALUES.items()
    }
    return {name: values for name, values in possible.items() if len(values) > 1}


def write_looks(path: Path, looks: Looks) -> None:
    """Notes what was read and how sure that is, for the user to check."""
    read = {name: getattr(looks.subject.identity, name) for name in IDENTITY_VALUES}
    wears = {"colour": looks.subject.outfit.colour, "garment": looks.subject.outfit.garment, "hat": looks.subject.outfit.hat}
    confidence = {name: round(share, 4) for name, share in looks.confidence.items()}
    doubts = {name: list(values) for name, values in looks.subject.doubts.items()}
    content = {"identity": read, "outfit": wears, "doubts": doubts, "confidence": confidence}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
