"""Which face reader runs."""

from pathlib import Path

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.embedded import EmbeddedReader
from pvchat_jax.synthesis.faces.insightface import InsightFaceReader
from pvchat_jax.synthesis.faces.reader import FaceReader

READERS = ("auto", "insightface", "embedded")


def choose_reader(name: str, model_dir: Path | None) -> FaceReader:
    """The reader of that name; `auto` is insightface where `model_dir` names its models, and embedded elsewhere.

    The caller prints the reader's `name` and `quality_note`.

    Raises:
      UserError: no such reader, or it cannot start; another one never takes its place.
    """
    if name not in READERS:
        raise UserError(f"there is no face reader '{name}'; choose one of {', '.join(READERS)}.")
    if name == "embedded" or (name == "auto" and model_dir is None):
        return EmbeddedReader()
    if model_dir is None:
        raise UserError(
            "the insightface reader needs the directory of a model pack, such as buffalo_l with det_10g.onnx and w600k_r50.onnx; name it, "
            "or use the embedded reader."
        )
    return InsightFaceReader(model_dir)
