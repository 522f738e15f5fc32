"""What a segmenter does: it says which part of a person each pixel shows."""

import enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]
Masks = NDArray[np.bool_]
Parts = NDArray[np.uint8]  # values of `Part`

SHOULDERS = 1.5  # half of their width in head radii, where nobody says better


class Part(enum.IntEnum):
    """What a pixel shows. A segmenter that cannot tell some parts apart calls hair `FACE` and arms `CLOTHES`."""

    SCENE = 0
    CLOTHES = 1
    NECK = 2
    FACE = 3
    HAIR = 4
    HAT = 5
    ARMS = 6


HEAD = (Part.NECK, Part.FACE, Part.HAIR, Part.HAT)
BODY = (Part.CLOTHES, Part.NECK, Part.ARMS)


class Segmenter(Protocol):
    """Cuts one person out of the frames of one shot."""

    def __call__(self, frames: NDArray[np.uint8], boxes: Boxes, shoulders: float = SHOULDERS) -> Parts:
        """The person whose head is in `boxes`, uint8[T, H, W]; other people count as the scene.

        Args:
          frames: uint8[T, H, W, 3]. boxes: float[T, 4], the skull in each frame, in pixels.
          shoulders: half of their width in head radii.

        Raises:
          UserError: what it needs is not installed.
        """
        ...
