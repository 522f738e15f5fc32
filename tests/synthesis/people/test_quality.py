"""Each quality falls when what it measures gets worse, on a photographed face, and does not when something else does."""

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage.data import astronaut

from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.people.quality import face_quality

BOX = (173.0, 64.0, 273.0, 164.0)  # of the face in the photograph
KEYPOINTS = np.float32([(204, 106), (242, 104), (226, 128), (208, 142), (246, 141)])


def quality_of(frame: np.ndarray, box: tuple[float, float, float, float] = BOX, keypoints: np.ndarray | None = None) -> dict[str, float]:
    quality = face_quality(frame, Face(box, keypoints, 0.9, np.ones(1, np.float32)))
    assert set(quality) == {"sharpness", "frontalness", "size", "eyes", "exposure"}
    assert all(0 <= value <= 1 for value in quality.values())
    return quality


def changed(**boxes: tuple[int, int, int, int]) -> np.ndarray:
    frame = astronaut()
    for left, top, right, bottom in boxes.values():
        frame[top:bottom, left:right] = np.median(frame[115:125, 205:240], axis=(0, 1))  # skin
    return frame


@pytest.mark.parametrize("keypoints", [None, KEYPOINTS], ids=["box", "keypoints"])
def test_a_good_portrait_is_good_in_every_way(keypoints: np.ndarray | None) -> None:
    assert min(quality_of(astronaut(), keypoints=keypoints).values()) > 0.6


@pytest.mark.parametrize("keypoints", [None, KEYPOINTS], ids=["box", "keypoints"])
def test_blur_costs_sharpness(keypoints: np.ndarray | None) -> None:
    image = Image.fromarray(astronaut())
    sharpness = [
        quality_of(np.asarray(image.filter(ImageFilter.GaussianBlur(radius))), keypoints=keypoints)["sharpness"] for radius in (0, 1, 2, 4)
    ]
    assert sharpness[0] > 1.5 * sharpness[1] > 3 * sharpness[2] > 3 * sharpness[3]


def test_covered_eyes_cost_eyes() -> None:
    before = quality_of(astronaut())
    both = quality_of(changed(both=(183, 92, 263, 116)))
    one = quality_of(changed(one=(223, 92, 263, 116)))
    assert both["eyes"] < 0.2
    assert one["eyes"] < 0.2
    assert both["sharpness"] > 0.7 * before["sharpness"]


def test_darkness_and_burnt_out_light_cost_exposure() -> None:
    frame = astronaut()
    assert quality_of(frame // 8)["exposure"] < 0.5
    assert quality_of(np.clip(3.0 * frame, 0, 255).astype(np.uint8))["exposure"] < 0.5


def test_small_faces_cost_size() -> None:
    small = np.asarray(Image.fromarray(astronaut()).reduce(2))
    half = tuple(value / 2 for value in BOX)
    assert quality_of(small, half)["size"] == pytest.approx(50 / 112)


def test_a_turned_head_costs_frontalness() -> None:
    frame = astronaut()
    frame[64:164, 223:273] = 128  # half of the face is out of sight
    assert quality_of(frame)["frontalness"] < 0.3
    turned = KEYPOINTS + np.float32([(0, 0), (0, 0), (14, 0), (0, 0), (0, 0)])
    tilted = (KEYPOINTS - KEYPOINTS[2]) @ np.float32([(0.7, 0.7), (-0.7, 0.7)]) + KEYPOINTS[2]
    upright = quality_of(astronaut(), keypoints=KEYPOINTS)["frontalness"]
    assert quality_of(astronaut(), keypoints=turned)["frontalness"] < 0.5 * upright
    assert quality_of(astronaut(), keypoints=tilted)["frontalness"] < 0.8 * upright


def test_a_tilted_face_with_keypoints_is_measured_upright() -> None:
    image = Image.fromarray(astronaut()).rotate(30, Image.Resampling.BICUBIC, center=(223, 114))
    turn = np.float32([(np.cos(np.pi / 6), -np.sin(np.pi / 6)), (np.sin(np.pi / 6), np.cos(np.pi / 6))])
    keypoints = (KEYPOINTS - (223, 114)) @ turn + np.float32((223, 114))
    assert quality_of(np.asarray(image), keypoints=keypoints)["eyes"] > 0.6


def test_a_box_at_the_edge_of_the_frame_is_measured() -> None:
    quality_of(astronaut(), (-20.0, -20.0, 60.0, 60.0))
    quality_of(np.zeros((8, 8, 3), np.uint8), (0.0, 0.0, 8.0, 8.0))
