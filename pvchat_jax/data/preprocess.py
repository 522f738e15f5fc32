"""Frame sampling, bicubic resizing, tiling and normalisation, in numpy (docs/reference.md section 6).

A clip is one view of the video: a local tile of the enlarged frames, or the global view of all of them.
The resampling repeats the reference's (`a = -0.75`, half-pixel centres, no antialiasing, values not
clamped to 0..255, coordinates computed in float32), so that pretrained weights see the pixels they know.
"""

import functools
import math

import numpy as np

from pvchat_jax.resampling import bicubic_matrix

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
PADDING_VALUE = 255.0


def frame_indices(num_source_frames: int, num_frames: int) -> np.ndarray:
    """Indices of the frames the model sees: int64[num_frames], the middle one for `num_frames` 1.

    Consecutive frames are (n - 1) / k apart and ties round to even, as in the reference; a video shorter
    than `num_frames` gives repeated indices. Raises ValueError when either number is below 1.
    """
    if num_source_frames < 1 or num_frames < 1:
        raise ValueError(f"cannot sample {num_frames} frames from {num_source_frames}")
    spacing = (num_source_frames - 1) / num_frames
    return int(spacing / 2) + np.round(spacing * np.arange(num_frames)).astype(np.int64)


def random_frame_indices(num_source_frames: int, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """One index at random from each of `num_frames` equal segments, ascending: int64[num_frames]."""
    positions = (np.arange(num_frames) + rng.random(num_frames)) / num_frames
    return (positions * num_source_frames).astype(np.int64)


@functools.lru_cache(maxsize=64)
def _bicubic_taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """The four source positions and weights of each target position: int64[4, target], float32[4, target].

    They are the non-zero entries of `bicubic_matrix`. Gathering four rows of a 1080-row frame takes a tenth
    of the time of the matrix product, and keeps BLAS threads out of worker processes.
    """
    matrix = bicubic_matrix(source, target)
    positions = np.argsort(-np.abs(matrix), axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(matrix, positions, axis=1)
    return np.ascontiguousarray(positions.T), np.ascontiguousarray(weights.T)


def _resize_rows(image: np.ndarray, target: int) -> np.ndarray:
    """[H, W, C] of any real dtype to float32[target, W, C]."""
    positions, weights = _bicubic_taps(len(image), target)
    resized = np.zeros((target, *image.shape[1:]), np.float32)
    for taps, tap_weights in zip(positions, weights, strict=True):
        part = np.take(image, taps, axis=0, mode="clip").astype(np.float32)  # "clip" skips the bounds check
        part *= tap_weights[:, None, None]
        resized += part
    return resized


def _resize_columns(image: np.ndarray, target: int) -> np.ndarray:
    """float32[H, W, C] to float32[H, target, C]."""
    height, width, channels = image.shape
    positions, weights = _bicubic_taps(width, target)
    resized = np.zeros((height, target * channels), np.float32)
    for taps, tap_weights in zip(positions, weights, strict=True):
        part = np.take(image, taps, axis=1, mode="clip").reshape(height, target * channels)
        part *= np.repeat(tap_weights, channels)  # a long inner axis is several times faster than one of 3
        resized += part
    return resized.reshape(height, target, channels)


def resize_bicubic(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes [T, H, W, C] (uint8 or float32) to float32[T, height, width, C] without clamping."""
    resized = np.empty((len(images), height, width, images.shape[-1]), np.float32)
    for index, image in enumerate(images):  # frame by frame, so that the intermediates stay small
        if image.shape[0] != height:
            image = _resize_rows(image, height)
        if image.shape[1] != width:
            image = _resize_columns(image.astype(np.float32, copy=False), width)
        resized[index] = image
    return resized


def closest_tile_grid(width: int, height: int, max_tiles: int, image_size: int = 224) -> tuple[int, int]:
    """The (columns, rows) of at most `max_tiles` whose aspect ratio is closest to that of the frame.

    Among equally close grids the one with more tiles wins when the frame has more than half of its pixels.
    """
    # Candidates of equal area are compared in the order in which the reference's set yields them.
    sizes = [(columns, rows) for n in range(1, max_tiles + 1) for columns in range(1, n + 1) for rows in range(1, n + 1)]
    grids = {(columns, rows) for columns, rows in sizes if columns * rows <= max_tiles}
    best, best_difference = (1, 1), math.inf
    for columns, rows in sorted(grids, key=math.prod):
        difference = abs(width / height - columns / rows)
        large_enough = width * height > 0.5 * image_size**2 * columns * rows
        if difference < best_difference or (difference == best_difference and large_enough):
            best, best_difference = (columns, rows), difference
    return best


def resize_to_grid(frames: np.ndarray, image_size: int, tile_grid: tuple[int, int]) -> np.ndarray:
    """Stretches uint8[T, H, W, 3] over a grid of tiles: float32[T, rows * S, columns * S, 3], values about 0..255."""
    columns, rows = tile_grid
    return resize_bicubic(frames, rows * image_size, columns * image_size)


def resize_with_padding(frames: np.ndarray, image_size: int, max_tiles: int) -> np.ndarray:
    """Enlarges uint8[T, H, W, 3] as far as `max_tiles` allow and pads to whole tiles with white.

    The reference turns portrait frames by 180 degrees and then squeezes them into landscape format, which
    distorts them; this repeats it. Returns float32[T, rows * S, columns * S, 3], values about 0..255.
    """
    _, height, width, _ = frames.shape
    portrait = width < height
    if portrait:
        frames, height, width = frames[:, ::-1, ::-1], width, height
    ratio = width / height
    scale = 1
    while (scale + 1) * math.ceil((scale + 1) / ratio) <= max_tiles:
        scale += 1
    new_width = scale * image_size
    new_height = int(new_width / ratio)
    resized = resize_bicubic(frames, new_height, new_width)
    missing = math.ceil(new_height / image_size) * image_size - new_height
    rows_above_and_below = (missing // 2, missing - missing // 2)
    padded = np.pad(resized, ((0, 0), rows_above_and_below, (0, 0), (0, 0)), constant_values=PADDING_VALUE)
    return np.ascontiguousarray(padded[:, ::-1, ::-1]) if portrait else padded


def _normalised_clips(frames: np.ndarray, image_size: int) -> np.ndarray:
    """Splits float32[T, rows * S, columns * S, 3] of 0..255 into normalised float32[N, T, S, S, 3] clips."""
    num_frames, height, width, channels = frames.shape
    pixel_rows = frames.reshape(num_frames * height, width * channels) / np.float32(255)
    pixel_rows -= np.tile(IMAGENET_MEAN, width)
    pixel_rows /= np.tile(IMAGENET_STD, width)
    frames = pixel_rows.reshape(frames.shape)
    rows, columns = height // image_size, width // image_size
    if rows * columns == 1:
        return frames[None]
    tiles = frames.reshape(num_frames, rows, image_size, columns, image_size, channels)
    tiles = tiles.transpose(1, 3, 0, 2, 4, 5).reshape(rows * columns, num_frames, image_size, image_size, channels)
    return np.concatenate([tiles, resize_bicubic(frames, image_size, image_size)[None]])


def preprocess_frames(frames: np.ndarray, image_size: int, tile_grid: tuple[int, int]) -> np.ndarray:
    """Turns uint8[T, H, W, 3] into float32[N, T, image_size, image_size, 3] for the vision encoder.

    N counts the tiles of `tile_grid` = (columns, rows) in row-major order and then the global view, which
    is resampled from the already resized and normalised frames. Grid (1, 1) gives N = 1, one global view.
    With (2, 1) this is the reference's default; with `closest_tile_grid(...)` its free-ratio variant.
    """
    return _normalised_clips(resize_to_grid(frames, image_size, tile_grid), image_size)


def preprocess_frames_padded(frames: np.ndarray, image_size: int, max_tiles: int) -> np.ndarray:
    """As `preprocess_frames`, but keeps the aspect ratio of landscape frames (`resize_with_padding`)."""
    return _normalised_clips(resize_with_padding(frames, image_size, max_tiles), image_size)
