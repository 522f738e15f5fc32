from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.pretraining.frames import draw_pictures
from pvchat_jax.pretraining.truth import labels_of
from pvchat_jax.world.plan import plan_base_video
from pvchat_jax.world.render import render_frames
from pvchat_jax.world.staging import NUM_FRAMES, spread_frames

SETTINGS = {"seed": 1, "num_videos": 3, "num_frames": 2, "image_size": 64}


@pytest.mark.parametrize("num_frames", [1, 2, 4, 8, 16])
def test_frames_are_evenly_spaced_and_start_at_every_place(num_frames: int) -> None:
    chosen = [spread_frames(index, num_frames) for index in range(NUM_FRAMES)]
    stride = NUM_FRAMES // num_frames
    for frames in chosen:
        assert len(frames) == num_frames
        assert 0 <= frames[0] < stride
        assert frames[-1] < NUM_FRAMES
        assert set(np.diff(frames)) <= {stride}
    assert {number for frames in chosen for number in frames} == set(range(NUM_FRAMES))


def test_pictures_are_drawn_once_with_their_labels(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    pictures = draw_pictures(tmp_path, **SETTINGS, progress=lambda done, total: progress.append((done, total)))
    assert progress == [(3, 3)]
    assert pictures.pixels.shape == (3, 2, 64, 64, 3)
    for index, pixels in enumerate(pictures.pixels):
        plan, frames = plan_base_video(1, index), spread_frames(index, 2)
        whole = render_frames(plan, frames=frames).reshape(2, 64, 2, 64, 2, 3).mean((2, 4))
        assert np.abs(pixels - whole).mean() < 4  # halved in another way
        for name, array in labels_of(plan, frames)._asdict().items():
            np.testing.assert_array_equal(getattr(pictures.labels, name)[index], array)
    again = draw_pictures(tmp_path, **SETTINGS, progress=lambda done, total: pytest.fail("was drawn again"))
    np.testing.assert_array_equal(again.pixels, pictures.pixels)
    with pytest.raises(UserError, match="holds pictures of"):
        draw_pictures(tmp_path, **(SETTINGS | {"seed": 2}), progress=lambda done, total: None)
