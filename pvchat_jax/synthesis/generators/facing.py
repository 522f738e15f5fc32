"""Faces that move within a head: they nod and turn, and the head bobs and sways with them.

Drawn faces have features on plain skin, which move as they are; their eyes close as they look down, and the far one as they turn. Filmed
faces are bent, most in their middle.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.synthesis.generators.cutouts import Layer
from pvchat_jax.synthesis.segmenting.heads import moved
from pvchat_jax.synthesis.segmenting.segmenter import Boxes, Masks, Part, Parts

# In radii of the skull, or in its mean radius (the root of the product of the two), which is the measure of all that has the same size on
# every drawn head.
_TURN, _TURNED, _SWAY = 0.48, 0.28, 0.16  # of a face that looks around and one that is turned all the time, and of the head
_UP, _DOWN = -0.2, 0.4  # of a face that nods,
_HEAD_UP, _HEAD_DOWN = -0.08, 0.29  # and of its head
_EYE_X, _EYE_X_LEAST, _EYE_Y, _EYE = 0.42, 0.39, -0.16, 0.39  # where drawn eyes are, and how large, with some room
_CLOSES, _LOWERS, _CLOSED = 0.2, 0.08, 0.17  # from where an eye closes as the face turns and as it is lowered, and over how much
_LID = 0.88  # as light as the skin
_ALIKE, _BARE = 45, 0.25  # distance of colours, up to which they are alike; share of a face that is not like hair, if hair is not like skin


class Movement(NamedTuple):
    """By how many pixels a face moves to the right and down within its head, and the head itself, float[T, 2] each."""

    face: NDArray[np.floating]
    head: NDArray[np.floating]


def movement(boxes: Boxes, how: str, rng: np.random.Generator) -> Movement:
    """How a head moves.

    Args:
      boxes: float[T, 4], the skull.
      how: `nod`, `turn` (from side to side), or `left` or `right` (turned all the time).
    """
    moments = len(boxes)
    radius_x, _ = radii = (boxes[0, 2:] - boxes[0, :2]) / 2
    size = np.sqrt(radii.prod())
    still = np.zeros(moments)
    phases = np.sin(2 * np.pi * (rng.random() + rng.uniform(0.3, 0.6) * np.arange(moments)))
    if how == "nod":
        down = (1 + phases) / 2
        faces, heads = (size * (up + (low - up) * down) for up, low in ((_UP, _DOWN), (_HEAD_UP, _HEAD_DOWN)))
        return Movement(np.stack([still, faces], axis=-1), np.stack([still, heads], axis=-1))
    ways = {"left": still - _TURNED, "right": still + _TURNED}.get(how, _TURN * phases)
    sway = _SWAY * phases if how == "turn" else still
    return Movement(np.stack([radius_x * ways, still], axis=-1), np.stack([size * sway, still], axis=-1))


def bend_face(layer: Layer, boxes: Boxes, moves: NDArray[np.floating]) -> None:
    """Moves a filmed face within the head: most in its middle, and not at all at the head's outline.

    Args:
      boxes: float[T, 4], the skull in the layer without its margins. moves: float[T, 2] pixels.
    """
    height, wide = layer.alpha.shape[1:]
    for moment, (box, move) in enumerate(zip(boxes, moves, strict=True)):
        middle, radii = (box[:2] + box[2:]) / 2 + [wide // 4, 0], (box[2:] - box[:2]) / 2
        first, last = np.clip(np.floor(middle - radii), 0, None).astype(int), np.ceil(middle + radii).astype(int)
        place = (moment, slice(first[1], min(last[1], height)), slice(first[0], min(last[0], wide)))
        rows, columns = np.mgrid[place[1:]].astype(np.float32)
        x, y = (columns - middle[0]) / radii[0], (rows - middle[1]) / radii[1]
        much = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
        points = [rows - move[1] * much - first[1], columns - move[0] * much - first[0]]
        for channel in range(3):
            plane = layer.colours[(*place, channel)]
            plane[...] = np.clip(ndimage.map_coordinates(plane.astype(np.float32), points, order=1, mode="nearest"), 0, 255)


def shift_face(layer: Layer, parts: Parts, boxes: Boxes, moves: NDArray[np.floating]) -> None:
    """Moves the features of a drawn face over its skin.

    Args:
      parts: uint8[T, H, W], what the pixels of the layer without its margins show. boxes, moves: as in `bend_face`.
    """
    wide = layer.alpha.shape[2]
    inner = slice(wide // 4, wide // 4 + parts.shape[2])
    for picture, shown, box, move in zip(layer.colours[:, :, inner], parts, boxes, moves, strict=True):
        face = shown == Part.FACE
        middle, radii = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        rows, columns = np.mgrid[: face.shape[0], : face.shape[1]] + 0.5
        x, y = columns - middle[0], rows - middle[1]
        if not face.any():
            continue
        hairy = _is_like(picture, picture[shown == Part.HAIR])
        bare = face & ~hairy
        skin = np.median(picture[bare if bare.sum() > _BARE * face.sum() else face], axis=0)
        plain = hairy | _is_like(picture, skin[None])
        ground = np.where(plain[..., None], picture, skin)
        _close_eyes(picture, face, x, y, radii, move, skin)
        across, down = np.round(move).astype(int)  # by whole pixels, which blurs nothing
        cover = moved(ndimage.binary_erosion(face, iterations=2), across, down) & face
        picture[face] = np.where(cover[..., None], moved(picture, across, down), np.round(ground))[face]


def _is_like(picture: NDArray[np.uint8], colours: NDArray) -> Masks:
    """Which pixels have about the colour that most of `colours` [N, 3] have; none where N is 0."""
    if not len(colours):
        return np.zeros(picture.shape[:2], bool)
    return np.abs(picture - np.median(colours, axis=0)).max(axis=-1) < _ALIKE


def _close_eyes(
    picture: NDArray[np.uint8], face: Masks, x: NDArray, y: NDArray, radii: NDArray, move: NDArray[np.floating], skin: NDArray[np.floating]
) -> None:
    """Paints lids over both eyes of a face that looks down, and over the far one of a face that turns; `x` and `y` are pixels from the
    middle of the skull."""
    size = np.sqrt(radii.prod())
    spread = max(_EYE_X * radii[0], _EYE_X_LEAST * size)
    for side in (-1, 1):
        much = max(side * move[0] / size - _CLOSES, move[1] / size - _LOWERS) / _CLOSED
        if much > 0:
            eye_x, eye_y, radius = x - side * spread, y - _EYE_Y * size, _EYE * size
            lid = face & (eye_x**2 + eye_y**2 < radius**2) & (eye_y < radius * (2 * min(much, 1) - 1))
            picture[lid] = np.round(_LID * skin)
