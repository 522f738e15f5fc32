from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest

from pvchat_jax.data.near_duplicates import MIN_DISTANCE, SeenClips, hash_clip
from tests.synthesis.stubs import RED, draw


def with_noise(frames: np.ndarray) -> np.ndarray:
    return np.clip(frames + np.random.default_rng(0).normal(0, 4, frames.shape), 0, 255).astype(np.uint8)


def cut(frames: np.ndarray) -> np.ndarray:
    pictures = [PIL.Image.fromarray(frame).crop((1, 1, 63, 63)).resize((64, 64)) for frame in frames]
    return np.stack([np.asarray(picture) for picture in pictures])


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda frames: frames,
    "noise": with_noise,
    "light": lambda frames: (frames * 0.9).astype(np.uint8),
    "cut": cut,
    "size": lambda frames: frames.repeat(2, 1).repeat(2, 2),
    "start": lambda frames: np.concatenate([frames[2:], frames[-2:]]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_nearest_and_below_the_limit(change: str) -> None:
    clips = [draw([(RED, 2)], num_frames=16, seed=seed) for seed in range(20)]
    seen = SeenClips()
    for index, clip in enumerate(clips):
        seen.add(f"clip-{index}", hash_clip(clip))
    name, distance = seen.nearest(hash_clip(CHANGES[change](clips[7])))
    assert name == "clip-7" and distance < MIN_DISTANCE


def test_clips_of_their_own_are_above_the_limit() -> None:
    seen = SeenClips()
    assert seen.nearest(hash_clip(draw([]))) is None
    for seed in range(40):
        clip_hash = hash_clip(draw([(RED, 2)], seed=seed))
        nearest = seen.nearest(clip_hash)
        assert nearest is None or nearest[1] > MIN_DISTANCE
        seen.add(str(seed), clip_hash)
