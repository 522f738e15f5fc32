"""Perceptual hashes of clips, to find one that was made twice, or that is in the training and in the test set."""

import functools

import numpy as np
import PIL.Image

NUM_FRAMES = 8  # of a clip that are hashed
# Share of bits by which clips differ that are not near duplicates. Of drawn clips, copies with noise, other light, cuts of 2 % at the
# edges or a later start differ by at most 0.14, and clips made anew by at least 0.26.
MIN_DISTANCE = 0.18
_SIDE = 64  # of the grey thumbnails
_COEFFICIENTS = 16  # of each axis of the cosine transform, whose signs about the median are the hash
_BITS = _COEFFICIENTS**2  # one byte boundary, with a bit for the mean brightness that is always 0


class SeenClips:
    """Hashes of clips, by name."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._hashes = np.zeros((0, NUM_FRAMES, _BITS // 8), np.uint8)

    def add(self, name: str, clip_hash: str) -> None:
        """Remembers a clip. `clip_hash`: of `hash_clip`."""
        self._names.append(name)
        self._hashes = np.concatenate([self._hashes, _parse(clip_hash)[None]])

    def nearest(self, clip_hash: str) -> tuple[str, float] | None:
        """The most alike clip and the share of bits in which it differs, about a half for unrelated ones; None before the first.

        Every frame is compared with the one of the other clip that suits it best, so that a clip which starts later is found too.
        """
        if not self._names:
            return None
        own = _parse(clip_hash)
        differing = (
            np.bitwise_count(self._hashes[:, :, None] ^ own[None, None]).sum(-1, dtype=np.int64) / _BITS
        )  # [clips, their frames, own]
        distances = np.maximum(differing.min(1).mean(1), differing.min(2).mean(1))
        index = int(distances.argmin())
        return self._names[index], float(distances[index])


def hash_clip(frames: np.ndarray) -> str:
    """Hexadecimal digits of the hash of `NUM_FRAMES` frames, spread over frames uint8[T, H, W, 3]."""
    basis = _cosines()
    spectrum = (basis @ thumbnails(frames) @ basis.T).reshape(NUM_FRAMES, -1)
    bits = spectrum > np.median(spectrum[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False  # the mean brightness
    return np.packbits(bits, axis=1).tobytes().hex()


def thumbnails(frames: np.ndarray) -> np.ndarray:
    """Grey thumbnails float32[NUM_FRAMES, 64, 64], between 0 and 255, of frames spread over uint8[T, H, W, 3]."""
    chosen = frames[np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int)]
    pictures = [PIL.Image.fromarray(frame).convert("L").resize((_SIDE, _SIDE), PIL.Image.Resampling.BOX) for frame in chosen]
    return np.stack([np.asarray(picture, np.float32) for picture in pictures])


@functools.cache
def _cosines() -> np.ndarray:
    """Lowest rows of the matrix of the discrete cosine transform, float32[_COEFFICIENTS, _SIDE]."""
    frequency, place = np.arange(_COEFFICIENTS)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * frequency * (place + 0.5) / _SIDE).astype(np.float32)


def _parse(clip_hash: str) -> np.ndarray:
    """uint8[NUM_FRAMES, bytes]."""
    return np.frombuffer(bytes.fromhex(clip_hash), np.uint8).reshape(NUM_FRAMES, _BITS // 8)
