"""A head over the frames of one shot: where it is to the pixel, and what it has in all of them."""

import numpy as np
from numpy.typing import NDArray

from pvchat_jax.synthesis.segmenting.opencv import import_opencv
from pvchat_jax.synthesis.segmenting.segmenter import Boxes, Masks, Part, Parts

_CHEEKS = (0.1, 0.9)  # rows of a face from its top, as shares of its height, whose middle is that of the head
_SHOWN = 0.4  # of the usual size of a face, from which it counts as shown


def follow_head(frames: NDArray[np.uint8], boxes: Boxes) -> Boxes:
    """Smooths detections of one head: the frame with the most typical box is looked for in all others.

    Args:
      frames: uint8[T, H, W, 3] of one shot.
      boxes: float[T, 4], of which those with NaN are unknown.

    Returns:
      float[T, 4], all of one size, which are as exact to each other as a pixel and as exact in the mean as `boxes`.
    """
    cv2 = import_opencv()
    known = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    middle = np.median(boxes[known], axis=0)
    first = known[np.argmin(np.abs(boxes[known] - middle).sum(axis=1))]
    height, width = frames.shape[1:3]
    left, top, right, bottom = np.clip(np.round(boxes[first]).astype(int), 0, [width - 2, height - 2, width, height])
    patch = frames[first, top : max(bottom, top + 2), left : max(right, left + 2)]
    reach_x, reach_y = int(1.2 * (boxes[first, 2] - boxes[first, 0])), int(0.8 * (boxes[first, 3] - boxes[first, 1]))
    moves = []
    for frame in frames:
        padded = cv2.copyMakeBorder(frame, reach_y, reach_y, reach_x, reach_x, cv2.BORDER_REPLICATE)
        window = padded[top : top + patch.shape[0] + 2 * reach_y, left : left + patch.shape[1] + 2 * reach_x]
        found = np.unravel_index(np.argmin(cv2.matchTemplate(window, patch, cv2.TM_SQDIFF)), (2 * reach_y + 1, 2 * reach_x + 1))
        moves.append((found[1] - reach_x, found[0] - reach_y))
    offsets = np.tile(np.array(moves, np.float64), 2)
    return np.median((boxes - offsets)[known], axis=0) + offsets


def follow_face(parts: Parts, boxes: Boxes) -> Boxes:
    """Where a head is by the outline of its face, which stays as it is when the face nods or turns.

    Args:
      parts: uint8[T, H, W]. boxes: float[T, 4], of the size of the skull, about where it is.

    Returns:
      float[T, 4], all of one size; `boxes` where no face is shown.
    """
    radii = np.median(boxes[:, 2:] - boxes[:, :2], axis=0) / 2
    faces = parts == Part.FACE
    sizes = faces.sum(axis=(1, 2))
    known = np.flatnonzero((sizes >= _SHOWN * np.quantile(sizes, 0.75)) & (sizes > 0))
    if not len(known):
        return boxes
    chins = np.array([_chin(face, radii[0]) for face in faces[known]])
    chins = np.stack([np.interp(np.arange(len(parts)), known, chins[:, axis]) for axis in (0, 1)], axis=-1)  # float[T, 2]
    return np.concatenate([chins - radii * [1, 2], chins + radii * [1, 0]], axis=-1)


def _chin(face: Masks, radius: float) -> tuple[float, float]:
    """Where the chin of a face bool[H, W] is, which may be cut by the picture's sides."""
    sizes = face.sum(axis=1)
    rows = np.flatnonzero(sizes >= min(2, sizes.max()))
    top, chin = rows[0], rows[-1] + 1
    band = face[top + int(_CHEEKS[0] * (chin - top)) : top + int(_CHEEKS[1] * (chin - top)) + 1]
    band = band[band.any(axis=1)]
    left, right = band.argmax(axis=1), band.shape[1] - band[:, ::-1].argmax(axis=1)
    if (left == 0).any():
        return float(np.median(right) - radius), float(chin)
    if (right == band.shape[1]).any():
        return float(np.median(left) + radius), float(chin)
    return float(np.median((left + right) / 2)), float(chin)


def usual_head(heads: Masks, boxes: Boxes) -> Masks:
    """What most frames of a head have in common, moved to where it is in each: an arm before it or a piece of background is left out.

    Args:
      heads: bool[T, H, W]. boxes: float[T, 4], the skull.
    """
    moves = np.round(boxes[:, :2] - boxes[0, :2]).astype(int)
    seen = np.ones_like(heads, dtype=np.float32)  # a pixel beyond the picture's edge says nothing
    votes = sum(moved(head.astype(np.float32), -x, -y) for head, (x, y) in zip(heads, moves, strict=True))
    voters = sum(moved(inside, -x, -y) for inside, (x, y) in zip(seen, moves, strict=True))
    common = (votes > 0.5 * voters).astype(np.float32)
    return np.stack([moved(common, x, y) > 0 for x, y in moves])


def moved(image: NDArray, x: int, y: int) -> NDArray:
    """The image [H, W, ...] moved by whole pixels, with zeros where nothing comes from."""
    result = np.zeros_like(image)
    height, width = image.shape[:2]
    x, y = max(-width, min(x, width)), max(-height, min(y, height))
    to_rows, of_rows = slice(max(y, 0), height + min(y, 0)), slice(max(-y, 0), height - max(y, 0))
    to_columns, of_columns = slice(max(x, 0), width + min(x, 0)), slice(max(-x, 0), width - max(x, 0))
    result[to_rows, to_columns] = image[of_rows, of_columns]
    return result
