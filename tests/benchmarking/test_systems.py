"""The systems beside the personalised one."""

import numpy as np

from pvchat_jax.benchmarking.systems import derangement


def test_question_only_gives_nobody_their_own_video() -> None:
    for size in (2, 3, 16, 161):
        for seed in range(20):
            places = derangement(size, seed)
            assert sorted(places) == list(range(size))
            assert not np.any(places == np.arange(size))
    assert np.any(derangement(16, 0) != derangement(16, 1))
