"""People cut out of a video in two layers, head and body, each with what the picture's edge hides completed by its mirror image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pvchat_jax.synthesis.segmentation import SHOULDERS, Boxes, Masks, follow_head, hat_masks, head_masks, person_masks, soft_alpha

_CHANGED = 45  # difference of a channel from what a head's pixel usually shows
_SPARE = 0.08  # of a head's pixels may be changed more than in the best frame, such as by a nod
_SWAY = 0.25  # of the head's way sideways, by which shoulders follow


class CutOut(NamedTuple):
    """A person in T frames of one shot.

    Attributes:
      frames: uint8[T, H, W, 3]. person, head: bool[T, H, W], whole and without clothes and arms. boxes: float[T, 4], the skull.
      clear: numbers of the frames that show the head as most frames do: no arm before it, not cut by the picture's edge.
    """

    frames: NDArray[np.uint8]
    person: Masks
    head: Masks
    boxes: Boxes
    clear: NDArray[np.integer]

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


def cut_out(frames: NDArray[np.uint8], boxes: Boxes, shoulders: float = SHOULDERS) -> CutOut:
    """Cuts out the person whose head is in `boxes` float[T, 4] of frames uint8[T, H, W, 3] of one shot."""
    boxes = follow_head(frames, boxes)
    person = person_masks(frames, boxes, shoulders)
    heads = head_masks(frames, person, boxes, shoulders)
    heads &= ndimage.binary_dilation(usual_head(heads, boxes), np.ones((1, 3, 3)))
    return CutOut(frames, person, heads, boxes, clear_frames(frames, heads, boxes))


def hat_layer(cut: CutOut, taken: NDArray[np.integer]) -> Layer:
    """The hat of somebody who wears one in the frames `taken`."""
    return _completed(cut.frames[taken], hat_masks(cut.frames[taken], cut.head[taken], cut.boxes[taken]), cut.head_x[taken])


def usual_head(heads: Masks, boxes: Boxes) -> Masks:
    """What most frames of a head have in common, moved to where it is in each: an arm before it or a piece of background is left out.

    Args:
      heads: bool[T, H, W]. boxes: float[T, 4], the skull.
    """
    moves = np.round(boxes[:, :2] - boxes[0, :2]).astype(int)
    seen = np.ones_like(heads, dtype=np.float32)  # a pixel beyond the picture's edge says nothing
    votes = sum(_moved(head.astype(np.float32), -x, -y) for head, (x, y) in zip(heads, moves, strict=True))
    voters = sum(_moved(inside, -x, -y) for inside, (x, y) in zip(seen, moves, strict=True))
    common = (votes > 0.5 * voters).astype(np.float32)
    return np.stack([_moved(common, x, y) > 0 for x, y in moves])


def _moved(image: NDArray[np.float32], x: int, y: int) -> NDArray[np.float32]:
    """The image moved by whole pixels, with zeros where nothing comes from."""
    return ndimage.shift(image, (y, x), order=0)


def body_layer(cut: CutOut, taken: NDArray[np.integer], *, with_head: bool) -> Layer:
    """The body in the frames `taken`; without the head what is under the chin stays, so that no gap shows between a neck and a collar."""
    masks = cut.person[taken]
    if not with_head:
        rows = np.arange(cut.frames.shape[1])[None, :, None]
        chin = cut.boxes[taken, 3][:, None, None]
        masks = masks & (~cut.head[taken] | (rows > chin + 0.05 * (cut.boxes[0, 3] - cut.boxes[0, 1])))
    return _completed(cut.frames[taken], masks, cut.body_x[taken])


def head_layer(cut: CutOut, taken: NDArray[np.integer], *, with_hat: bool = True) -> Layer:
    """Head, hair, hat and neck in the frames `taken`, or the same without the hat that the head wears."""
    masks = cut.head[taken]
    if not with_hat:
        hats = hat_masks(cut.frames[taken], masks, cut.boxes[taken])
        masks = masks & ~ndimage.binary_dilation(hats, np.ones((1, 3, 3)))
    return _completed(cut.frames[taken], masks, cut.head_x[taken])


def hair_layer(cut: CutOut, taken: NDArray[np.integer]) -> Layer:
    """The upper half of a head without a hat in the frames `taken`."""
    boxes = cut.boxes[taken]
    brow = boxes[:, 1] + 0.35 * (boxes[:, 3] - boxes[:, 1])
    masks = cut.head[taken] & (np.arange(cut.frames.shape[1])[None, :, None] < brow[:, None, None])
    return _completed(cut.frames[taken], masks, cut.head_x[taken])


def clear_frames(frames: NDArray[np.uint8], heads: Masks, boxes: Boxes) -> NDArray[np.integer]:
    """`CutOut.clear`."""
    moves = np.round(boxes[:, :2] - boxes[0, :2]).astype(int)
    shown = np.where(heads[..., None], frames, np.uint8(0)).astype(np.float32).transpose(0, 3, 1, 2)
    still = np.stack([[_moved(plane, -x, -y) for plane in frame] for frame, (x, y) in zip(shown, moves, strict=True)])
    usual = np.median(still, axis=0)
    changed = (np.abs(still - usual).max(axis=1) > _CHANGED).sum(axis=(1, 2)) / max((usual.max(axis=0) > 0).sum(), 1)
    return np.flatnonzero(changed <= changed.min() + _SPARE)


def _completed(frames: NDArray[np.uint8], masks: Masks, axis: NDArray[np.floating]) -> Layer:
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
