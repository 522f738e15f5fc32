"""Cuts people out of frames without learned weights: GrabCut, seeded from the head and from what stands still at the edges.

All frames of a video are cut at once, stacked into one tall picture, so that they share their colour models; what is hard to tell
apart in one frame is often plain in another. Lengths are multiples of a head's radius, so any size of picture will do.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.synthesis.segmenting.heads import usual_head
from pvchat_jax.synthesis.segmenting.opencv import import_opencv
from pvchat_jax.synthesis.segmenting.segmenter import SHOULDERS, Boxes, Masks, Part, Parts

_EXPLAINED = 9  # largest difference of a channel from a colour of the background in the same row
_STILL = 15  # and from what a pixel at the edge of the picture shows most of the time
_COLOURS_PER_ROW = 16
_NOTHING = (255, 0, 255)
_SEED = 0


class _Body(NamedTuple):
    """Where a person should be: coordinates of all pixels relative to the head and the shoulders, float[T, H, W], in head radii.

    Attributes:
      across, down: from the middle of the head. body: sideways from the middle of the shoulders. chin: of each frame, float[T, 1, 1].
    """

    across: np.ndarray
    down: np.ndarray
    body: np.ndarray
    chin: np.ndarray
    wide: float
    tall: float

    def head(self, grow: float) -> Masks:
        return np.square(self.across / (self.wide + grow)) + np.square(self.down / (self.tall + grow)) < 1

    def torso(self, shoulders: float, grow: float) -> Masks:
        """A rectangle with round corners that begins a little under the chin and reaches far below the picture."""
        height = 2.5 + grow
        below = self.down - self.chin - 0.12 - 2.5
        return (np.abs(self.body) / (shoulders + grow)) ** 4 + (np.abs(below) / height) ** 4 < 1


def grabcut(frames: NDArray[np.uint8], boxes: Boxes, shoulders: float = SHOULDERS) -> Parts:
    """`segmenter.Segmenter` without learned weights. Hair is not told from the face, nor arms from clothes, and what is called a hat
    is one only if the person wears one."""
    person = person_masks(frames, boxes, shoulders)
    heads = head_masks(frames, person, boxes, shoulders)
    heads &= ndimage.binary_dilation(usual_head(heads, boxes), np.ones((1, 3, 3)))
    parts = np.where(person, np.uint8(Part.CLOTHES), np.uint8(Part.SCENE))
    parts[heads] = Part.FACE
    chin = boxes[:, 3, None, None] + 0.05 * (boxes[0, 3] - boxes[0, 1])
    parts[heads & (np.arange(frames.shape[1])[None, :, None] > chin)] = Part.NECK
    parts[hat_masks(frames, heads, boxes)] = Part.HAT
    return parts


def person_masks(frames: NDArray[np.uint8], boxes: Boxes, shoulders: float = SHOULDERS) -> Masks:
    """Which pixels show the person, bool[T, H, W].

    Args:
      frames: uint8[T, H, W, 3] of one shot.
      boxes: float[T, 4], the head in each frame.
      shoulders: half of their width in head radii.

    Raises:
      UserError: OpenCV is not installed.
    """
    cv2 = import_opencv()
    body = _body(frames.shape[:3], boxes)
    torso = body.torso(shoulders, 0.0)
    below = body.down > body.chin + 0.24
    seeds = np.full(frames.shape[:3], cv2.GC_PR_BGD, np.uint8)
    seeds[torso | body.head(0.48)] = cv2.GC_PR_FGD
    away = ~body.torso(shoulders, 0.16) & ~body.head(0.65)
    edge, palette, still = _edges(frames, body)
    explained = _near_any(frames, palette)
    seeds[explained & (away | (below & ~torso))] = cv2.GC_BGD
    seeds[edge & (np.abs(frames - still).max(axis=-1) < _STILL)] = cv2.GC_BGD
    seeds[body.head(-0.15)] = cv2.GC_FGD
    neck = (body.down > body.chin - 0.1) & (body.down < body.chin + 0.57) & (np.abs(body.across + body.body) < 0.65)
    seeds[neck | body.torso(shoulders - 0.2, -0.1)] = cv2.GC_FGD
    seeds[body.down < -body.tall - 1.06] = cv2.GC_BGD
    return np.stack([_one_piece(mask) for mask in _grab(frames, seeds)])


def head_masks(frames: NDArray[np.uint8], masks: Masks, boxes: Boxes, shoulders: float = SHOULDERS) -> Masks:
    """Which pixels of a person are head, hair, hat and neck and not clothes or arms, bool[T, H, W].

    Args:
      masks: of `person_masks`; the other arguments are its own.
    """
    cv2 = import_opencv()
    body = _body(frames.shape[:3], boxes)
    seeds = np.full(frames.shape[:3], cv2.GC_PR_BGD, np.uint8)
    around = body.head(0.6) & (body.down < body.chin)
    seeds[around] = cv2.GC_PR_FGD
    seeds[(np.abs(body.across) < 0.8 * body.wide) & (body.down < body.chin - 0.05)] = cv2.GC_FGD
    seeds[body.head(-0.05)] = cv2.GC_FGD
    core = body.torso(min(shoulders - 0.25, 0.75), -0.3) & (body.down > body.chin + 0.8)
    lowest = body.down > np.minimum(body.chin + 1.3, body.down[:, -1:] - 0.4)  # hair hardly falls that far
    hair = around & ~body.head(-0.05) & (body.down < body.chin - 0.2) & masks
    seeds[(body.down >= body.chin - 0.2) & _typical(frames, hair, masks & lowest)] = cv2.GC_PR_FGD
    far = (np.abs(body.across) > body.wide + 0.95) | (body.down > body.chin + 2.2)
    seeds[core | far | ~masks] = cv2.GC_BGD
    alone = np.where(masks[..., None], frames, np.uint8(_NOTHING))  # else most of the colour models would go to the background
    heads = _grab(alone, seeds) & masks
    return np.stack([_piece_with_most(head, inner) for head, inner in zip(heads, body.head(-0.3), strict=True)])


def hat_masks(frames: NDArray[np.uint8], heads: Masks, boxes: Boxes) -> Masks:
    """Which pixels of a head with a hat are the hat, bool[T, H, W]: the top of the head, and what has its colours down to the brim.

    Args:
      heads: of `head_masks`; the other arguments are its own.
    """
    body = _body(frames.shape[:3], boxes)
    above = body.down < -0.52 * body.tall
    down = (body.down + 0.42 * body.tall) / (0.85 * body.tall)
    dome = heads & above & (np.square(body.across / (body.wide + 0.18)) + np.square(down) < 1)
    inner = heads & (body.down < -0.4 * body.tall) & (np.square(body.across / (0.95 * body.wide)) + np.square(down) < 0.9)
    face = heads & (np.abs(body.down) < 0.3 * body.tall)
    brim = heads & (body.down < -0.52 * body.tall + 0.2) & (np.abs(body.across) < body.wide + 0.85) & _typical(frames, inner, face)
    return np.stack([_piece_with_most(mask, middle) for mask, middle in zip(dome | brim, inner, strict=True)])


def _body(shape: tuple[int, int, int], boxes: Boxes) -> _Body:
    moments, height, width = shape
    radius_x, radius_y = np.median(boxes[:, 2] - boxes[:, 0]) / 2, np.median(boxes[:, 3] - boxes[:, 1]) / 2
    radius = np.sqrt(radius_x * radius_y)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    # A head sways over shoulders that hardly move; somebody who walks takes them along.
    shoulders = x if np.ptp(x) > 1.8 * radius else np.median(x) + 0.25 * (x - np.median(x))
    columns, rows = np.arange(width)[None, None] + 0.5, np.arange(height)[None, :, None] + 0.5
    shape3 = (moments, height, width)
    return _Body(
        across=np.broadcast_to((columns - x[:, None, None]) / radius, shape3),
        down=np.broadcast_to((rows - y[:, None, None]) / radius, shape3),
        body=np.broadcast_to((columns - shoulders[:, None, None]) / radius, shape3),
        chin=np.full((moments, 1, 1), radius_y / radius),
        wide=float(radius_x / radius),
        tall=float(radius_y / radius),
    )


def _edges(frames: NDArray[np.uint8], body: _Body) -> tuple[Masks, np.ndarray, np.ndarray]:
    """The columns at the picture's sides that the person hardly reaches, bool[1, 1, W]; the colours that each row has there, float[H,
    K, 3]; and what a pixel shows most of the time, float[H, W, 3]."""
    still = np.median(frames, axis=0)
    margin = max(frames.shape[2] // 32, 1)
    away = (np.abs(body.across) > 2.45).all(axis=(0, 1))
    if not away.any():
        away[:margin] = away[-margin:] = True
    colours = still[:, away]
    colours = colours[:, :: max(colours.shape[1] // _COLOURS_PER_ROW, 1)]
    above, below = np.vstack([colours[:1], colours[:-1]]), np.vstack([colours[1:], colours[-1:]])
    return away[None, None], np.concatenate([above, colours, below], axis=1), still


def _near_any(frames: NDArray[np.uint8], palette: np.ndarray) -> Masks:
    """Pixels uint8[T, H, W, 3] that look like one of their row's colours float[H, K, 3]."""
    found = np.zeros(frames.shape[:3], bool)
    pixels = frames.astype(np.int16)
    for colour in np.round(palette).astype(np.int16).transpose(1, 0, 2):
        found |= np.abs(pixels - colour[:, None]).max(axis=-1) < _EXPLAINED
    return found


def _typical(frames: NDArray[np.uint8], of: Masks, against: Masks) -> Masks:
    """Pixels of a colour that is several times as frequent in `of` as in `against`."""
    bins = frames >> 4
    colour = (bins[..., 0].astype(np.int32) << 8) + (bins[..., 1].astype(np.int32) << 4) + bins[..., 2]
    counts = [np.bincount(colour[mask], minlength=4096) / max(mask.sum(), 1) for mask in (of, against)]
    return ((counts[0] > 0.01) & (counts[0] > 8 * counts[1]))[colour]


def _grab(frames: NDArray[np.uint8], seeds: NDArray[np.uint8]) -> Masks:
    cv2 = import_opencv()
    cv2.setRNGSeed(_SEED)
    mask = np.ascontiguousarray(seeds.reshape(-1, seeds.shape[2]))
    tall = np.ascontiguousarray(frames.reshape(-1, *frames.shape[2:]))
    cv2.grabCut(tall, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    return ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).reshape(seeds.shape)


def _one_piece(mask: Masks) -> Masks:
    """The largest piece of a mask without its holes; the lower edge of the picture counts as the person, who goes on below it."""
    labels, _ = ndimage.label(ndimage.binary_opening(mask, np.ones((2, 2))))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = (labels == sizes.argmax()) & (labels > 0)
    return ndimage.binary_fill_holes(np.pad(largest, ((0, 1), (0, 0)), constant_values=True))[:-1]


def _piece_with_most(mask: Masks, inner: Masks) -> Masks:
    """The piece of `mask` that has most of `inner`, without its holes."""
    labels, _ = ndimage.label(mask)
    counts = np.bincount(labels[inner & mask], minlength=1)
    counts[0] = 0
    return ndimage.binary_fill_holes((labels == counts.argmax()) & (labels > 0))
