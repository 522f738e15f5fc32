"""A face reader that runs insightface's ONNX models from a local directory; it never downloads any."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.records import sha256_of

_DIGEST_DIGITS = 12


class InsightFaceReader:
    """Finds faces with the detector of a model pack and describes them with its recogniser; see `FaceReader`.

    Args:
      model_dir: of a pack such as buffalo_l: det_10g.onnx and w600k_r50.onnx directly in it, not in a folder below.
      detector_size: pixels of the square that a frame is scaled into for the search, a multiple of 32.

    Raises:
      UserError: insightface is not installed, or the directory is missing, holds no models, or broken or insufficient ones.
    """

    # Customary for recognisers trained with an angular margin, under which strangers lie around 0; not measured here for want of
    # such a model.
    same_person = 0.4
    alike = 0.2
    fewest_pixels = 48

    def __init__(self, model_dir: Path, detector_size: int = 640) -> None:
        model_dir = Path(model_dir).expanduser().absolute()
        models = _models_of(model_dir)  # before insightface sees the path: it downloads what it takes for missing
        try:
            import insightface
            from insightface.app import FaceAnalysis
        except ImportError as error:
            raise UserError(
                f"the insightface reader cannot start ({error}); install insightface with pip install 'pvchat_jax[synthesis]', "
                "and where a system library such as libGL.so.1 is missing, that library (libgl1 and libglib2.0-0 on Debian)."
            ) from error
        try:
            self._analysis = FaceAnalysis(name=str(model_dir), allowed_modules=["detection", "recognition"])
            self._analysis.prepare(ctx_id=0, det_size=(detector_size, detector_size))
        except Exception as error:  # onnxruntime's exceptions have no common class, and a missing detector is an AssertionError
            raise UserError(_complaint(model_dir, models, error)) from error
        if "recognition" not in self._analysis.models:
            raise UserError(
                f"the insightface models in {model_dir} have no face recogniser; add that of the same pack, such as w600k_r50.onnx."
            )
        if not getattr(self._analysis.det_model, "use_kps", True):
            raise UserError(
                f"the face detector in {model_dir} gives no keypoints, which the recogniser needs; use one such as det_10g.onnx."
            )
        recogniser = Path(self._analysis.models["recognition"].model_file)
        self.name = f"insightface-{insightface.__version__}/{recogniser.stem}-{sha256_of(recogniser)[:_DIGEST_DIGITS]}"
        self.quality_note = f"faces are found and compared by insightface with {recogniser.name}, the reader for training sets that count"

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each frame, uint8[H, W, 3] in RGB, with keypoints, largest score first."""
        return [self._read_one(frame) for frame in frames]

    def _read_one(self, frame: np.ndarray) -> list[Face]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # insightface calls a method that scikit-image renames
            found = self._analysis.get(np.ascontiguousarray(frame[..., ::-1]))
        height, width = frame.shape[:2]
        faces = []
        for face in found:
            length = float(np.linalg.norm(face.embedding))
            box = tuple(float(value) for value in np.clip(face.bbox, 0, (width, height, width, height)))
            if length > 0 and box[0] < box[2] and box[1] < box[3]:
                faces.append(Face(box, np.float32(face.kps), float(face.det_score), np.float32(face.embedding / length)))
        return sorted(faces, key=lambda face: -face.score)


def _models_of(model_dir: Path) -> list[Path]:
    if not model_dir.is_dir():
        raise UserError(
            f"the directory of insightface models {model_dir} does not exist; unpack a model pack such as buffalo_l there, "
            "correct the path, or use the embedded face reader."
        )
    models = sorted(model_dir.glob("**/*.onnx" if (model_dir / "manifest.json").exists() else "*.onnx"))  # newer packs list their files
    if not models:
        raise UserError(
            f"the directory of insightface models {model_dir} holds no .onnx file; name the folder that holds the files of a model pack "
            "(such as det_10g.onnx and w600k_r50.onnx) themselves."
        )
    return models


def _complaint(model_dir: Path, models: Sequence[Path], error: Exception) -> str:
    """Says which file onnxruntime cannot load, or what else insightface misses in the directory."""
    import onnxruntime

    for model in models:
        try:
            onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        except Exception:  # as above
            return f"the insightface model {model} is damaged or no ONNX file; copy it again from its model pack."
    if isinstance(error, AssertionError):
        return f"the insightface models in {model_dir} have no face detector; add that of the same pack, such as det_10g.onnx."
    return f"insightface cannot use the models in {model_dir} ({error}); unpack a whole model pack such as buffalo_l there."
