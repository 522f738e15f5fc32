"""Clothes and skin in another colour: shading stays as it is, and what has another hue, such as white stripes, is left alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pvchat_jax.synthesis.generators.cutouts import CutOut
from pvchat_jax.synthesis.segmenting.segmenter import Masks, Part

Colour = NDArray[np.float32]  # float32[3], red, green and blue in 0 to 255

_OTHER_HUE, _SAME_HUE = 0.2, 0.12  # distance of a pixel from a colour at any lightness, as a share, from and up to which it is another
_SKIN = 0.15  # likewise, up to which a colour is that of hands
_COLOURFUL, _BRIGHT = 0.25, 60.0  # saturation and lightness from which there is a hue to tell
_HUES = 24
_FEWEST_PIXELS = 40


class Dye(NamedTuple):
    """What has the colour `source` gets the colour `target`."""

    source: Colour
    target: Colour


def dye(colours: NDArray[np.uint8], where: Masks, source: Colour, target: Colour) -> None:
    """Gives pixels uint8[T, H, W, 3] in `where` bool[T, H, W] that have the hue of `source` the colour `target`, as light or dark in
    proportion as they were."""
    pixels = colours[where].astype(np.float32)
    shade, difference = _compare(pixels, source)
    weight = np.clip((_OTHER_HUE - difference) / (_OTHER_HUE - _SAME_HUE), 0.0, 1.0)[:, None]
    dyed = np.clip(shade[:, None] * target, 0.0, 255.0)
    colours[where] = np.round(pixels + weight * (dyed - pixels))


def cloth_colour(cut: CutOut) -> Colour | None:
    """The colour that most of the clothes have; None for white, grey and black ones."""
    pixels = cut.frames[(cut.parts == Part.CLOTHES) | (cut.parts == Part.ARMS)].astype(np.float32)
    skin = skin_colour(cut)
    if skin is not None:
        pixels = pixels[_compare(pixels, skin)[1] > _SKIN]  # hands
    most, least = pixels.max(axis=-1), pixels.min(axis=-1)
    pixels = pixels[(most > _BRIGHT) & (most - least > _COLOURFUL * most)]
    if len(pixels) < _FEWEST_PIXELS * len(cut.frames):
        return None
    hues = _hues(pixels)
    counts = np.bincount(hues, minlength=_HUES)
    counts = counts + np.roll(counts, 1) + np.roll(counts, -1)
    peak = counts.argmax()
    near = np.isin(hues, [(peak - 1) % _HUES, peak, (peak + 1) % _HUES])
    return np.median(pixels[near], axis=0)


def skin_colour(cut: CutOut) -> Colour | None:
    """The colour of the neck, which no beard has; None where too little of it is seen."""
    pixels = cut.frames[cut.parts == Part.NECK]
    return np.median(pixels, axis=0).astype(np.float32) if len(pixels) >= _FEWEST_PIXELS else None


def dressed(cut: CutOut, cloth: Dye | None, skin: Dye | None) -> CutOut:
    """Somebody in clothes of another colour, and with the skin of body and hands in another one; None leaves either as it is."""
    frames = cut.frames.copy()
    arms = cut.parts == Part.ARMS
    for part, change in ((Part.CLOTHES, cloth), (Part.NECK, skin)):
        if change is not None:
            dye(frames, (cut.parts == part) | arms, *change)
    return cut._replace(frames=frames)


def _compare(pixels: NDArray[np.float32], colour: Colour) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels float32[N, 3] as a multiple of a colour, float32[N], and how far each is from that multiple, as a share of it."""
    shade = pixels @ colour / max(float(colour @ colour), 1.0)
    rest = np.linalg.norm(pixels - shade[:, None] * colour, axis=-1)
    return shade, rest / np.maximum(shade * np.linalg.norm(colour), 1.0)


def _hues(pixels: NDArray[np.float32]) -> NDArray[np.integer]:
    """Bins of the angle around the grey axis."""
    red, green, blue = pixels.T
    angle = np.arctan2(np.sqrt(3.0) * (green - blue), 2 * red - green - blue)
    return np.floor((angle / (2 * np.pi) % 1.0) * _HUES).astype(int) % _HUES
