"""Pixels and frame choice are the reference's, at the sizes it was run on and, against torch, at others."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.data.preprocess import (
    closest_tile_grid,
    frame_indices,
    preprocess_frames,
    preprocess_frames_padded,
    random_frame_indices,
    resize_bicubic,
    resize_to_grid,
    resize_with_padding,
)

GOLDEN = np.load(Path(__file__).parent.parent / "goldens" / "preprocess.npz")
RAW_TOLERANCE = 5e-3  # of 0..255
NORMALISED_TOLERANCE = 1.5e-4
CASES = sorted({key.split("/")[0] for key in GOLDEN.files if key.startswith("case")})
SMALL = sorted({key.split("/")[0] for key in GOLDEN.files if key.startswith("small")})


def channels_first(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -1, -3)


def sampled_case(case: str) -> np.ndarray:
    frames, height, width, segments, seed = (int(value) for value in GOLDEN[f"{case}/THW_seg_seed"])
    video = np.random.RandomState(seed).randint(0, 256, (frames, height, width, 3), np.uint8)
    assert hashlib.sha256(video.tobytes()).hexdigest() == str(GOLDEN[f"{case}/input_sha256"])
    return video[frame_indices(frames, segments)]


def assert_digest_matches(images: np.ndarray, name: str, tolerance: float) -> None:
    images = channels_first(images)
    assert images.dtype == np.float32
    assert images.shape == tuple(GOLDEN[f"{name}/shape"])
    np.testing.assert_allclose(images[..., 5::37, 3::37], GOLDEN[f"{name}/strided"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(images[..., :4, -4:], GOLDEN[f"{name}/corner"], rtol=0, atol=tolerance)
    np.testing.assert_allclose([images.min(), images.max()], GOLDEN[f"{name}/minmax"], rtol=0, atol=tolerance)
    mean_error = abs(images.sum(dtype=np.float64) - GOLDEN[f"{name}/sum_f64"]) / images.size
    mean_abs_error = abs(np.abs(images).sum(dtype=np.float64) - GOLDEN[f"{name}/abssum_f64"]) / images.size
    assert max(mean_error, mean_abs_error) < tolerance / 10


def test_frame_indices_equal_the_reference() -> None:
    names = [key for key in GOLDEN.files if key.startswith("get_index/")]
    assert len(names) == 27
    for name in names:
        num_source, num_frames = (int(part) for part in name.split("/")[1].split("_"))
        np.testing.assert_array_equal(frame_indices(num_source, num_frames), GOLDEN[name], err_msg=name)


def test_one_frame_is_the_middle_one() -> None:
    assert [int(frame_indices(n, 1)[0]) for n in (1, 2, 3, 49, 50)] == [0, 0, 1, 24, 24]


def test_sampling_from_an_empty_video_is_an_error() -> None:
    with pytest.raises(ValueError, match="8 frames from 0"):
        frame_indices(0, 8)


@pytest.mark.parametrize("case", CASES)
def test_default_clips_equal_the_reference(case: str) -> None:
    sampled = sampled_case(case)
    clips = preprocess_frames(sampled[[0, -1]], 224, (2, 1))
    assert_digest_matches(clips[None], f"{case}/load_video_nopad_hd6", NORMALISED_TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_padded_clips_equal_the_reference(case: str) -> None:
    first = sampled_case(case)[:1]
    for max_tiles in (4, 6):
        assert_digest_matches(resize_with_padding(first, 224, max_tiles), f"{case}/HD_padding_hd{max_tiles}", RAW_TOLERANCE)
    assert_digest_matches(preprocess_frames_padded(first, 224, 6)[None], f"{case}/load_video_pad_hd6", NORMALISED_TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_free_ratio_frames_equal_the_reference(case: str) -> None:
    first = sampled_case(case)[:1]
    _, height, width, _ = first.shape
    for max_tiles in (4, 6):
        raw = resize_to_grid(first, 224, closest_tile_grid(width, height, max_tiles))
        assert_digest_matches(raw, f"{case}/HD_no_padding_free_ratio_hd{max_tiles}", RAW_TOLERANCE)


@pytest.mark.parametrize("name", SMALL)
def test_small_videos_equal_the_reference_in_every_pixel(name: str) -> None:
    video, size = GOLDEN[f"{name}/frames_uint8"], int(GOLDEN[f"{name}/resolution"])
    indices = frame_indices(len(video), int(GOLDEN[f"{name}/num_segments"]))
    np.testing.assert_array_equal(indices, GOLDEN[f"{name}/index"])
    raw = resize_to_grid(video[indices], size, (2, 1))
    np.testing.assert_allclose(channels_first(raw), GOLDEN[f"{name}/HD_no_padding"], rtol=0, atol=RAW_TOLERANCE)
    clips = preprocess_frames(video[indices], size, (2, 1))
    np.testing.assert_allclose(channels_first(clips)[None], GOLDEN[f"{name}/load_video"], rtol=0, atol=NORMALISED_TOLERANCE)


def test_closest_tile_grid_equals_the_reference() -> None:
    for (width, height), expected in zip(GOLDEN["closest_ratio/wh"], GOLDEN["closest_ratio/result_max6"], strict=True):
        assert closest_tile_grid(int(width), int(height), 6) == tuple(expected), (width, height)


def test_between_equally_close_grids_only_a_large_frame_takes_more_tiles() -> None:
    assert closest_tile_grid(168, 112, 4) == (1, 1)
    assert closest_tile_grid(336, 224, 4) == (2, 1)


def test_one_tile_gives_only_the_global_view() -> None:
    frames = np.random.RandomState(0).randint(0, 256, (2, 20, 33, 3), np.uint8)
    clips = preprocess_frames(frames, 14, (1, 1))
    assert clips.shape == (1, 2, 14, 14, 3)
    expected = (resize_bicubic(frames, 14, 14) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(clips[0], expected, rtol=0, atol=NORMALISED_TOLERANCE)


@pytest.mark.parametrize(
    ("source", "target"),
    [((1, 1), (14, 28)), ((2, 3), (7, 5)), ((48, 64), (14, 28)), ((37, 211), (56, 56)), ((120, 60), (120, 119)), ((301, 13), (14, 200))],
)
def test_bicubic_equals_torch_at_other_sizes(source: tuple[int, int], target: tuple[int, int]) -> None:
    import torch

    frames = np.random.RandomState(7).randint(0, 256, (2, *source, 3), np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(channels_first(frames).astype(np.float32)), size=target, mode="bicubic", align_corners=False
    )
    np.testing.assert_allclose(channels_first(resize_bicubic(frames, *target)), expected.numpy(), rtol=0, atol=RAW_TOLERANCE)


@pytest.mark.parametrize(("num_source_frames", "num_frames"), [(1, 4), (16, 4), (5, 5), (100, 8)])
def test_random_frames_come_one_from_each_segment(num_source_frames: int, num_frames: int) -> None:
    drawn = np.stack([random_frame_indices(num_source_frames, num_frames, np.random.default_rng(seed)) for seed in range(200)])
    first = np.arange(num_frames) * num_source_frames // num_frames
    last = np.maximum(-(-np.arange(1, num_frames + 1) * num_source_frames // num_frames) - 1, first)
    np.testing.assert_array_equal(drawn.min(0), first)
    np.testing.assert_array_equal(drawn.max(0), last)
