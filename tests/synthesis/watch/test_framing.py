import dataclasses

import numpy as np
import pytest

from pvchat_jax.synthesis.watch.framing import frame_person
from pvchat_jax.synthesis.watch.watching import watch, write_clip
from tests.synthesis.made import person


@pytest.mark.parametrize(("x", "size"), [(4, (160, 90)), (66, (160, 90)), (118, (160, 90)), (30, (90, 160))])
def test_frames_have_the_wanted_size_and_boxes_stay_on_the_head(tmp_path, x, size):
    frames = np.full((24, size[1], size[0], 3), 60, np.uint8)
    frames[:, 20:50, x : x + 32] = 220
    write_clip(tmp_path / "v.mp4", frames, 8.0)
    who = person(0, 3)
    box = (float(x), 20.0, x + 32.0, 50.0)
    tracks = (tuple(dataclasses.replace(sighting, box=box) for sighting in who.tracks[0]), who.tracks[0][:2])
    framed = frame_person(watch(tmp_path / "v.mp4"), dataclasses.replace(who, tracks=tracks), 2.0, 6, 96, 96)
    assert framed.frames.shape == (6, 96, 96, 3)
    for frame, (left, top, right, bottom) in zip(framed.frames, framed.boxes, strict=True):
        assert left > -1 and top > -1 and right < 97 and bottom < 97
        inside = frame[round(top) + 2 : round(bottom) - 2, round(left) + 2 : round(right) - 2]
        assert inside.min() > 180


def grey_frames(path, who, num_frames: int) -> list[int]:
    """The frames that are taken; a corner of each is as grey as its number in the file."""
    frames = np.full((40, 64, 64, 3), 90, np.uint8)
    frames[:, :16, :16] = np.arange(40)[:, None, None, None] * 6
    write_clip(path, frames, 8.0)
    taken = frame_person(watch(path), who, 8.0, num_frames, 64, 64).frames
    return [round(float(frame[2:14, 2:14].mean()) / 6) for frame in taken]


def test_people_move_as_fast_as_they_do_and_the_best_stretch_is_taken(tmp_path):
    (track,) = person(0.125, 5.0).tracks
    good = tuple(
        dataclasses.replace(sighting, quality=sighting.quality | {"sharpness": 0.1 + 0.8 * (2 <= sighting.time < 4)}) for sighting in track
    )
    who = dataclasses.replace(person(), tracks=(good,))
    taken = grey_frames(tmp_path / "long.mp4", who, 8)
    assert np.all(np.diff(taken) == 1) and 15 <= taken[0] <= 24


def test_all_of_a_short_track_is_taken(tmp_path):
    who = dataclasses.replace(person(), tracks=(person(0.125, 1.0).tracks[0],))
    assert grey_frames(tmp_path / "short.mp4", who, 8) == list(range(8))
