"""People cut out of a video in two layers, head and body, each with what the picture's edge hides completed by its mirror image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.synthesis.segmenting.heads import follow_face, follow_head, moved
from pvchat_jax.synthesis.segmenting.opencv import import_opencv
from pvchat_jax.synthesis.segmenting.segmenter import BODY, HEAD, SHOULDERS, Boxes, Masks, Part, Parts, Segmenter

CUTTING = "2"  # version of what `cut_out` does; what was kept of an older one is cut anew
_CHANGED, _NEAR = 30, 5  # difference of a channel from what so many pixels of a head usually show, as nobody follows heads to the pixel
_SPARE = 0.08  # of a head's pixels may be changed more than in the best frame, such as by a nod
_EYES = (0.15, 0.7)  # rows of a face as shares of the skull's height
_STRAIGHT = 0.85  # of the best frame's contrast
_FEWEST_PIXELS = 12  # from which light is told
_SWAY = 0.25  # of the head's way sideways, by which shoulders follow


class CutOut(NamedTuple):
    """A person in T frames of one shot.

    Attributes:
      frames: uint8[T, H, W, 3]. parts: uint8[T, H, W], what each pixel shows. boxes: float[T, 4], the skull.
      clear: numbers of the frames that show the head as most frames do: no arm before it, not cut by the picture's edge; and of those
        who nod or look around, the frames in which they look straight ahead.
    """

    frames: NDArray[np.uint8]
    parts: Parts
    boxes: Boxes
    clear: NDArray[np.integer]

    @property
    def person(self) -> Masks:
        """Which pixels show the person, bool[T, H, W]."""
        return self.parts != Part.SCENE

    @property
    def head(self) -> Masks:
        """Which pixels show head, hair, hat and neck, bool[T, H, W]."""
        return np.isin(self.parts, HEAD)

    @property
    def head_x(self) -> NDArray[np.floating]:
        """Middle of the head, float[T] in pixels."""
        return (self.boxes[:, 0] + self.boxes[:, 2]) / 2

    @property
    def walks(self) -> bool:
        """Whether the person crosses a third of the picture and does not come back."""
        return bool(abs(self.head_x[-1] - self.head_x[0]) > 0.33 * self.frames.shape[2])

    @property
    def body_x(self) -> NDArray[np.floating]:
        """Middle of the shoulders, float[T] in pixels: a head sways over shoulders that hardly move."""
        middle = np.median(self.head_x)
        return self.head_x if self.walks else middle + _SWAY * (self.head_x - middle)


class Layer(NamedTuple):
    """Something to paint: colours uint8[T, H, W + 2 * margin, 3] and coverage float32[T, H, W + 2 * margin]."""

    colours: NDArray[np.uint8]
    alpha: NDArray[np.float32]


def cut_out(frames: NDArray[np.uint8], boxes: Boxes, segmenter: Segmenter, shoulders: float = SHOULDERS) -> CutOut:
    """Cuts out the person whose head is in `boxes` float[T, 4] of frames uint8[T, H, W, 3] of one shot."""
    boxes = follow_head(frames, boxes)
    parts = segmenter(frames, boxes, shoulders)
    if (parts == Part.HAIR).any():  # hair is told from faces, so an outline that nods and turns leave alone is known
        boxes = follow_face(parts, boxes)
    return CutOut(frames, parts, boxes, clear_frames(frames, np.isin(parts, HEAD), boxes))


def stretch(cut: CutOut, taken: NDArray[np.integer]) -> CutOut:
    """A part of the frames, which has to have clear ones."""
    return CutOut(cut.frames[taken], cut.parts[taken], cut.boxes[taken], np.flatnonzero(np.isin(taken, cut.clear)))


def body_layer(cut: CutOut, taken: NDArray[np.integer]) -> Layer:
    """The body in the frames `taken`, with the neck, so that no gap shows between it and a collar."""
    return completed(cut.frames[taken], np.isin(cut.parts[taken], BODY), cut.body_x[taken])


def arms_layer(cut: CutOut, taken: NDArray[np.integer]) -> Layer:
    """The arms in the frames `taken`, which may be before the head."""
    return completed(cut.frames[taken], cut.parts[taken] == Part.ARMS, cut.body_x[taken])


def head_layer(cut: CutOut, taken: NDArray[np.integer], *, with_hat: bool = True) -> Layer:
    """Head, hair, hat and neck in the frames `taken`, or the same without the hat that the head wears."""
    masks = cut.head[taken]
    if not with_hat:
        masks = masks & ~ndimage.binary_dilation(cut.parts[taken] == Part.HAT, np.ones((1, 3, 3)))
    return completed(cut.frames[taken], masks, cut.head_x[taken])


def hat_layer(cut: CutOut, taken: NDArray[np.integer]) -> Layer:
    """The hat of somebody who wears one in the frames `taken`."""
    return completed(cut.frames[taken], cut.parts[taken] == Part.HAT, cut.head_x[taken])


def hair_layer(cut: CutOut, taken: NDArray[np.integer]) -> Layer:
    """The upper half of a head without a hat in the frames `taken`."""
    boxes = cut.boxes[taken]
    brow = boxes[:, 1] + 0.35 * (boxes[:, 3] - boxes[:, 1])
    masks = cut.head[taken] & (np.arange(cut.frames.shape[1])[None, :, None] < brow[:, None, None])
    return completed(cut.frames[taken], masks, cut.head_x[taken])


def clear_frames(frames: NDArray[np.uint8], heads: Masks, boxes: Boxes) -> NDArray[np.integer]:
    """`CutOut.clear`."""
    moves = np.round(boxes[:, :2] - boxes[0, :2]).astype(int)
    shown = np.where(heads[..., None], frames, np.uint8(0)).astype(np.float32).transpose(0, 3, 1, 2)
    still = np.stack([[moved(plane, -x, -y) for plane in frame] for frame, (x, y) in zip(shown, moves, strict=True)])
    usual = np.median(still, axis=0)
    near = (1, _NEAR, _NEAR)
    least, most = ndimage.minimum_filter(usual, near), ndimage.maximum_filter(usual, near)
    other = np.maximum(least - still, still - most).max(axis=1) > _CHANGED
    changed = other.sum(axis=(1, 2)) / max((usual.max(axis=0) > 0).sum(), 1)
    return np.flatnonzero(changed <= changed.min() + _SPARE)


def straight_frames(cut: CutOut) -> NDArray[np.integer]:
    """`CutOut.clear` of somebody whose face moves: the frames in which both eyes are about as open as in the best one, which their
    contrast shows; whole heads, if there are any."""
    top, height = cut.boxes[:, 1], cut.boxes[:, 3] - cut.boxes[:, 1]
    rows = np.arange(cut.frames.shape[1])[None] + 0.5
    eyes = (rows >= (top + _EYES[0] * height)[:, None]) & (rows < (top + _EYES[1] * height)[:, None])  # [T, H]
    masks = (cut.parts == Part.FACE) & eyes[..., None]
    left = np.arange(cut.frames.shape[2]) + 0.5 < cut.head_x[:, None]  # [T, W]
    halves = (masks & left[:, None], masks & ~left[:, None])
    contrast = np.array([min(_contrast(frame[half]) for half in both) for frame, *both in zip(cut.frames, *halves, strict=True)])
    whole = ~cut.head[:, :, [0, -1]].any(axis=(1, 2))
    contrast = np.where(whole, contrast, 0.0) if whole.any() else contrast
    return np.flatnonzero(contrast >= _STRAIGHT * contrast.max())


def _contrast(pixels: NDArray[np.uint8]) -> float:
    return float(pixels.std(axis=0).mean()) if len(pixels) else 0.0


def lightness(cut: CutOut, taken: NDArray[np.integer], masks: Masks) -> float:
    """How light what `masks` bool[N, H, W] show in the frames `taken` is, 1 to 255; NaN where that is next to nothing."""
    shown = cut.frames[taken][masks]
    return max(float(np.median(shown)), 1.0) if len(shown) >= _FEWEST_PIXELS else float("nan")


def completed(frames: NDArray[np.uint8], masks: Masks, axis: NDArray[np.floating]) -> Layer:
    """A layer half a picture wider on both sides, where it shows the other half of the person as in a mirror at x = `axis`."""
    moments, height, width = masks.shape
    margin = width // 2
    colours = np.zeros((moments, height, width + 2 * margin, 3), np.uint8)
    wide = np.zeros((moments, height, width + 2 * margin), bool)
    colours[:, :, margin : margin + width], wide[:, :, margin : margin + width] = frames, masks
    for moment, middle in enumerate(axis):
        outside = np.r_[-margin:0, width : width + margin]
        inside = np.round(2 * middle - 1 - outside).astype(int)
        known = (inside >= 0) & (inside < width)
        colours[moment, :, outside[known] + margin] = frames[moment, :, inside[known]]
        wide[moment, :, outside[known] + margin] = masks[moment, :, inside[known]]
    # Below the picture the person goes on, so the edge there is not soft.
    alpha = soft_alpha(np.pad(wide, ((0, 0), (0, 4), (0, 0)), mode="edge"))[:, :height]
    return Layer(colours, alpha)


def soft_alpha(masks: Masks) -> NDArray[np.float32]:
    """Coverage float32[T, H, W] with an edge soft over two pixels that lies half a pixel inside, where no background shines through."""
    cv2 = import_opencv()
    blurred = np.stack([cv2.GaussianBlur(mask.astype(np.float32), (7, 7), 0.8, borderType=cv2.BORDER_REPLICATE) for mask in masks])
    return np.clip(1.6 * blurred - 0.6, 0.0, 1.0)
