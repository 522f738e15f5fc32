"""How good a picture of a face is, in five numbers between 0 and 1, from its pixels and its box or keypoints alone.

All but size and the turn of the head are measured on the face brought to one size and place, so that they compare across backends.
They order the pictures of one video; they are no measure of beauty or of how well a backend will recognise the face.
"""

import numpy as np
from PIL import Image

from pvchat_jax.synthesis.faces.reader import Face

_SIDE = 96  # pixels of the face that is measured
# Where eyes, nose and corners of the mouth lie in it, as x and y; a detector's box without keypoints is close to this.
_PLACES = np.array([(0.31, 0.40), (0.69, 0.40), (0.50, 0.60), (0.34, 0.80), (0.66, 0.80)], np.float32) * _SIDE
_EYES = ((0.30, 0.50), (0.14, 0.46), (0.54, 0.86))  # rows, columns of the left one and of the right one, as shares of the side
_FULL_SIZE = 112  # pixels, the input of the recognisers; more adds nothing
_FULL_SHARPNESS = 0.05  # variance of the Laplacian over that of the grey levels, of a sharp photograph of a face
_FULL_SYMMETRY = 0.6  # correlation with the mirror image; light from one side and the hair keep faces from the full 1
_FULL_TURN = 0.5  # of the distance between the eyes by which the nose leaves their middle when the head is seen from the side
_DARK_EYES = 0.45  # by which share pupils and lashes are darker than the face around them


def face_quality(frame: np.ndarray, face: Face) -> dict[str, float]:
    """Qualities of one face in its frame, uint8[H, W, 3] in RGB, by the names that `Sighting.quality` lists.

    `sharpness`: fine detail that is left. `frontalness`: nose between the eyes or, without keypoints, likeness to the mirror image.
    `size`: of the box. `eyes`: dark spots where the eyes are, which closed or covered ones lack. `exposure`: neither dark nor burnt out.
    """
    grey = _measured_face(frame, face)
    left, top, right, bottom = face.box
    return {
        "sharpness": _sharpness(grey),
        "frontalness": _symmetry(grey) if face.keypoints is None else _frontalness(face.keypoints),
        "size": _limited(min(right - left, bottom - top) / _FULL_SIZE),
        "eyes": _eyes(grey),
        "exposure": _exposure(grey),
    }


def _measured_face(frame: np.ndarray, face: Face) -> np.ndarray:
    """float32[side, side] between 0 and 1, the face in its standard place."""
    if face.keypoints is None:
        left, top, right, bottom = face.box
        across, down = (right - left) / _SIDE, (bottom - top) / _SIDE
        coefficients = (across, 0.0, left, 0.0, down, top)
    else:
        coefficients = _similarity(_PLACES, face.keypoints)
    # PIL samples single pixels: large faces are shrunk first so that noise and moiré do not count as detail
    shrink = max(1, int(np.hypot(coefficients[0], coefficients[3])))
    image = Image.fromarray(frame).convert("L")
    image = image.reduce(shrink) if shrink > 1 else image
    coefficients = tuple(value / shrink for value in coefficients)
    image = image.transform((_SIDE, _SIDE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / 255


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, ...]:
    """PIL's six numbers of the turn, zoom and shift that brings `source` closest to `target`, both float32[N, 2]."""
    x, y = source.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    equations = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    a, b, right, down = np.linalg.lstsq(equations, target.T.ravel(), rcond=None)[0]
    return float(a), float(-b), float(right), float(b), float(a), float(down)


def _sharpness(grey: np.ndarray) -> float:
    centre = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    return _limited(float(laplacian.var() / max(centre.var(), 1e-4)) / _FULL_SHARPNESS)


def _frontalness(keypoints: np.ndarray) -> float:
    left_eye, right_eye, nose = keypoints[:3]
    between = right_eye - left_eye
    distance = max(float(np.linalg.norm(between)), 1e-6)
    turn = abs(float((nose - (left_eye + right_eye) / 2) @ between)) / distance**2
    tilt = abs(float(np.arctan2(between[1], between[0])))
    return _limited(1 - turn / _FULL_TURN) * max(0.0, float(np.cos(tilt)))


def _symmetry(grey: np.ndarray) -> float:
    """Correlation with the mirror image, for the axis near the middle that suits best."""
    coarse = grey.reshape(_SIDE // 4, 4, _SIDE // 4, 4).mean(axis=(1, 3))
    best = 0.0
    for shift in range(-3, 4):
        part = coarse[:, max(0, shift) : coarse.shape[1] + min(0, shift)]
        level = part - part.mean()
        best = max(best, float((level * level[:, ::-1]).sum() / max((level**2).sum(), 1e-6)))
    return _limited(best / _FULL_SYMMETRY)


def _eyes(grey: np.ndarray) -> float:
    """The less dark one of the two eyes counts: one that is hidden spoils the picture."""
    (top, bottom), *columns = (tuple(round(share * _SIDE) for share in shares) for shares in _EYES)
    around = max(float(np.median(grey[top : round(0.8 * _SIDE)])), 1e-3)
    darkest = [float(np.quantile(grey[top:bottom, left:right], 0.04)) for left, right in columns]
    return _limited((1 - max(darkest) / around) / _DARK_EYES)


def _exposure(grey: np.ndarray) -> float:
    level = float(grey.mean())
    lost = float(((grey < 0.02) | (grey > 0.98)).mean())
    return _limited(min(level / 0.25, (1 - level) / 0.25)) * _limited(1 - 2 * lost)


def _limited(value: float) -> float:
    return min(1.0, max(0.0, value))
