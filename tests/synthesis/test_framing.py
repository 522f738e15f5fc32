import dataclasses

import numpy as np
import pytest

from pvchat_jax.synthesis.framing import frame_performer
from pvchat_jax.synthesis.generators.generator import Performer
from pvchat_jax.synthesis.watching import watch, write_clip
from tests.synthesis.made import person


@pytest.mark.parametrize(("x", "size"), [(4, (160, 90)), (66, (160, 90)), (118, (160, 90)), (30, (90, 160))])
def test_frames_have_the_wanted_size_and_boxes_stay_on_the_head(tmp_path, x, size):
    frames = np.full((24, size[1], size[0], 3), 60, np.uint8)
    frames[:, 20:50, x : x + 32] = 220
    write_clip(tmp_path / "v.mp4", frames, 8.0)
    who = person(0, 3)
    box = (float(x), 20.0, x + 32.0, 50.0)
    tracks = (tuple(dataclasses.replace(sighting, box=box) for sighting in who.tracks[0]), who.tracks[0][:2])
    performer = Performer(watch(tmp_path / "v.mp4"), dataclasses.replace(who, tracks=tracks), ())
    framed = frame_performer(performer, 6, 96, 96)
    assert framed.frames.shape == (6, 96, 96, 3)
    for frame, (left, top, right, bottom) in zip(framed.frames, framed.boxes, strict=True):
        assert left > -1 and top > -1 and right < 97 and bottom < 97
        inside = frame[round(top) + 2 : round(bottom) - 2, round(left) + 2 : round(right) - 2]
        assert inside.min() > 180
