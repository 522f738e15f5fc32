"""No look-alike may differ only in what nobody could see: a linear reader on the base's features reads every attribute of a person."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import stage2
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.pretraining.readers import read_person
from pvchat_jax.pretraining.truth import PERSON_CLASSES
from pvchat_jax.pretraining.vision import encode
from pvchat_jax.training.weights import read_tensors, weights_directory
from pvchat_jax.world.people import IDENTITY_VALUES
from pvchat_jax.world.plan import hidden_attributes, plan_video
from pvchat_jax.world.render import render_frames

NUM_VIDEOS = 1000
LEAST = 0.98
BATCH = 50


@pytest.mark.slow
def test_every_identity_attribute_of_a_person_who_is_alone_is_read_off_a_whole_video():
    config = stage2.tiny()
    model, params = build_pvchat(config.model), read_tensors(weights_directory("tiny"), ("vision_encoder/", "vision_norm/", "readers/"))
    size, num_frames = config.data.image_size, config.data.num_frames
    num_clips = 16 // num_frames
    # Of as many worlds, since half of the videos of one world show one person.
    drawn = (plan_video(10_000 + world, "test", world) for world in range(2 * NUM_VIDEOS))
    plans = list(itertools.islice((plan for plan in drawn if plan.bystander is None), NUM_VIDEOS))

    @jax.jit
    def read(clips: jax.Array) -> dict[str, jax.Array]:
        """Mean logits over the clips of each video: float[BATCH, classes] by attribute."""
        logits = read_person(params["readers"], encode(model, params, clips)[:, 1:])
        return {name: jnp.mean(values.reshape(BATCH, num_clips, -1), axis=1) for name, values in logits.items()}

    right = {name: [] for name in IDENTITY_VALUES}
    for start in range(0, NUM_VIDEOS, BATCH):
        chosen = plans[start : start + BATCH]
        videos = [render_frames(plan) for plan in chosen]
        clips = [preprocess_frames(video[first::num_clips], size, (1, 1))[0] for video in videos for first in range(num_clips)]
        answers = read(jnp.asarray(np.stack(clips)))
        for name in IDENTITY_VALUES:
            found = [PERSON_CLASSES[name][index] for index in np.argmax(answers[name], axis=-1)]
            right[name] += [
                value == getattr(plan.person.identity, name)
                for value, plan in zip(found, chosen, strict=True)
                if name not in hidden_attributes(plan.person.outfit, plan.person.action)
            ]
    shares = {name: sum(values) / len(values) for name, values in right.items()}
    assert min(map(len, right.values())) > NUM_VIDEOS / 2
    print(shares)
    assert {name: share for name, share in shares.items() if share < LEAST} == {}
