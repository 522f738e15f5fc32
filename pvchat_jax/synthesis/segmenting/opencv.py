"""OpenCV, which is an extra."""

from types import ModuleType

from pvchat_jax.errors import UserError


def import_opencv() -> ModuleType:
    """The module `cv2`, which keeps to one thread.

    Raises:
      UserError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError("cutting people out of videos needs OpenCV; run pip install 'pvchat_jax[synthesis]'.") from error
    cv2.setNumThreads(1)  # several videos are cut at a time instead
    return cv2
