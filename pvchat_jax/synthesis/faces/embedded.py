"""A face reader without downloaded weights: scikit-image's cascade finds faces that look at the camera, gradients describe them.

It is good enough to follow the person of a clear video and to tell a few people in it apart. It does not recognise somebody across
poses and light as a trained network does.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Face

_LONG_SIDE = 480  # pixels that frames are shrunk to before the search
_SMALLEST = 32  # pixels of a face in the shrunk frame
_ZOOM = 1.1  # from one size of the search window to the next
_FEWEST_HITS = 4  # windows
_HALF_HITS = 8  # windows that give the score 0.5
_SAME_PLACE = 0.35  # intersection over union of windows that have found one face
_DESCRIBED = 64  # pixels of the face that is described
_SEEN = 24  # pixels it is first shrunk to, the resolution of the gallery, so that blur does not tell it from the faces there
_CELL = 8  # pixels
_ORIENTATIONS = 9
_GALLERY = 100  # faces, the first half of scikit-image's bundled pictures; the others are no faces


class EmbeddedReader:
    """Reads faces with what scikit-image brings; see `FaceReader`.

    Scores are the number n of neighbouring search windows that the cascade accepts, as n / (n + 8): around faces it accepts dozens, and
    elsewhere seldom more than a few. Embeddings are histograms of oriented gradients of a face and its mirror image, added up, less
    their mean over a gallery of 100 faces: float32[1008], the same for a face and its mirror image.

    Raises:
      UserError: scikit-image is not installed.
    """

    # From 62 detections of 7 photographed people under turns of up to 8 degrees, zooms of 0.6 to 1.3, blur, noise, gamma, JPEG and
    # mirroring, and the gallery's faces: at 0.4 one pair in a hundred of different people passes, and 99 of a hundred of one person,
    # always in the same photograph; at 0.25 it is about one in ten of different people.
    same_person = 0.4
    alike = 0.25
    fewest_pixels = 48
    quality_note = (
        "faces are found and compared by the embedded reader, which needs no downloaded models, misses faces that do not look at the "
        "camera and may take one person in other poses or light for another; use the insightface reader for a training set that counts"
    )

    def __init__(self) -> None:
        try:
            import skimage
            from skimage.data import lbp_frontal_face_cascade_filename, lfw_subset
            from skimage.feature import Cascade
        except ImportError as error:
            raise UserError(
                f"the embedded face reader needs scikit-image ({error}); install it with pip install 'pvchat_jax[synthesis]'."
            ) from error
        self.name = f"embedded-1/scikit-image-{skimage.__version__}"
        self._cascade = Cascade(lbp_frontal_face_cascade_filename())
        gallery = [Image.fromarray(np.uint8(255 * face)) for face in lfw_subset()[:_GALLERY]]
        self._usual = np.mean([_describe(face, (0, 0, *face.size)) for face in gallery], axis=0)

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each frame, uint8[H, W, 3] in RGB, without keypoints, largest score first."""
        return [self._read_one(Image.fromarray(frame).convert("L")) for frame in frames]

    def _read_one(self, image: Image.Image) -> list[Face]:
        faces = []
        for box, score in self._find(image):
            features = _describe(image, box) - self._usual
            length = float(np.linalg.norm(features))
            if length > 0:
                faces.append(Face(box, None, score, np.float32(features / length)))
        return sorted(faces, key=lambda face: -face.score)

    def _find(self, image: Image.Image) -> list[tuple[tuple[float, float, float, float], float]]:
        """Boxes and scores."""
        scale = min(1.0, _LONG_SIDE / max(image.size))
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
        if min(small.size) < _SMALLEST:
            return []
        windows = self._cascade.detect_multi_scale(
            np.asarray(small),
            scale_factor=_ZOOM,
            step_ratio=1,
            min_size=(_SMALLEST, _SMALLEST),
            max_size=(small.height, small.width),
            min_neighbor_number=1,
            intersection_score_threshold=1.1,  # more than any, so that windows come back one by one and can be counted
        )
        corners = np.array([(w["c"], w["r"], w["c"] + w["width"], w["r"] + w["height"]) for w in windows], np.float64).reshape(-1, 4)
        return [
            (tuple(float(value) for value in box / scale), hits / (hits + _HALF_HITS))
            for box, hits in _grouped(corners)
            if hits >= _FEWEST_HITS
        ]


def _grouped(windows: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Mean and number of the windows, float64[N, 4], in one place; the place with most neighbours takes its windows first."""
    lower = np.maximum(windows[:, None, :2], windows[None, :, :2])
    upper = np.minimum(windows[:, None, 2:], windows[None, :, 2:])
    shared = np.clip(upper - lower, 0, None).prod(axis=-1)
    areas = (windows[:, 2:] - windows[:, :2]).prod(axis=-1)
    together = shared / (areas[:, None] + areas[None] - shared) > _SAME_PLACE
    left = np.ones(len(windows), bool)
    groups = []
    while left.any():
        centre = ((together & left).sum(axis=1) * left).argmax()
        members = together[centre] & left
        groups.append((windows[members].mean(axis=0), int(members.sum())))
        left &= ~members
    return groups


def _describe(image: Image.Image, box: tuple[float, float, float, float]) -> np.ndarray:
    """float64[1008], histograms of oriented gradients that do not change when the face is mirrored."""
    from skimage.feature import hog

    shrink = max(1, int((box[2] - box[0]) / _SEEN / 2))
    image = image.reduce(shrink)
    face = image.resize((_SEEN, _SEEN), Image.Resampling.BILINEAR, box=_inside(tuple(value / shrink for value in box), image.size))
    grey = np.asarray(face.resize((_DESCRIBED, _DESCRIBED), Image.Resampling.BICUBIC), np.float32)
    histograms = sum(
        hog(pixels, _ORIENTATIONS, (_CELL, _CELL), (2, 2), block_norm="L2-Hys", feature_vector=False) for pixels in (grey, grey[:, ::-1])
    )
    # Columns of blocks right of the middle repeat those on the left: leaving them out and counting those double keeps every cosine.
    columns = histograms.shape[1]
    kept = histograms[:, : columns // 2 + 1].reshape(len(histograms), columns // 2 + 1, -1)
    weights = np.r_[np.full(columns // 2, np.sqrt(2)), 1]
    return (kept * weights[None, :, None]).ravel() / np.linalg.norm(histograms)


def _inside(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(float(size[0]), right), min(float(size[1]), bottom)
