"""Parts of faces that heads of one shape and skin can exchange: so a look-alike is made of a head with somebody else's eyes, mouth or hair.

Whoever keeps the own face gets a part of it put on again from another moment, so that a seam in a face tells nothing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pvchat_jax.synthesis.generators.cutouts import CutOut, Layer, completed, lightness
from pvchat_jax.synthesis.segmenting.heads import moved
from pvchat_jax.synthesis.segmenting.segmenter import Masks, Part

# Rows of a face, as shares of the skull's height from its top: the eyes end where the nose begins.
REGIONS = {"face": (-1.0, 2.0), "eyes": (-1.0, 0.56), "lower": (0.56, 2.0)}
_BARE = (0.25, 0.56)  # rows that no beard covers, whose light is compared
_GAIN = (0.96, 1.04)


class Exchange(NamedTuple):
    """What is put on a head: a region of the face, one of `REGIONS`, from a cut-out, which is another one's or the head's own."""

    region: str
    donor: CutOut


def put_on(head: Layer, wearer: CutOut, heads: NDArray[np.integer], what: Exchange, rng: np.random.Generator) -> Layer:
    """The head `head` of `wearer` in the frames `heads` with the region put on."""
    donor = what.donor
    taken = np.repeat(rng.choice(donor.clear), len(heads))
    part = completed(donor.frames[taken], region_masks(donor, taken, what.region), donor.head_x[taken])
    lights = [lightness(cut, frames, _face_rows(cut, frames, _BARE)) for cut, frames in ((wearer, heads), (donor, taken[:1]))]
    gain = rng.uniform(*_GAIN) * np.nan_to_num(lights[0] / lights[1], nan=1.0)
    under, over = wearer.boxes[heads], donor.boxes[taken]
    across = np.round((under[:, 0] + under[:, 2] - over[:, 0] - over[:, 2]) / 2).astype(int)
    down = np.round(under[:, 3] - over[:, 3]).astype(int)
    colours, alpha = head.colours.copy(), head.alpha.copy()
    for moment, (x, y) in enumerate(zip(across, down, strict=True)):
        cover = moved(part.alpha[moment], x, y)
        lit = np.clip(moved(part.colours[moment], x, y).astype(np.float32) * gain, 0, 255)
        old = colours[moment].astype(np.float32)
        colours[moment] = np.round(old + cover[..., None] * (lit - old))
        alpha[moment] = np.maximum(alpha[moment], cover)
    return Layer(colours, alpha)


def region_masks(cut: CutOut, taken: NDArray[np.integer], region: str) -> Masks:
    """Which pixels show a region of the face in the frames `taken`, bool[T, H, W]."""
    return _face_rows(cut, taken, REGIONS[region])


def _face_rows(cut: CutOut, taken: NDArray[np.integer], shares: tuple[float, float]) -> Masks:
    boxes = cut.boxes[taken]
    first, last = (boxes[:, 1] + share * (boxes[:, 3] - boxes[:, 1]) for share in shares)
    rows = np.arange(cut.frames.shape[1])[None, :, None] + 0.5
    return (cut.parts[taken] == Part.FACE) & (rows >= first[:, None, None]) & (rows < last[:, None, None])
