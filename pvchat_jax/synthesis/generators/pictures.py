"""Portraits as the pictures that diffusion pipelines take."""

import PIL.Image
import PIL.ImageFilter

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.generator import Performer

_BLUR = 0.05  # of the longer side


def portraits_of(performer: Performer, count: int) -> list[PIL.Image.Image]:
    """The best `count` portraits at most.

    Raises:
      UserError: there is none.
    """
    if not performer.portraits:
        raise UserError(
            f"person {performer.person.index} of {performer.source.video} has no portrait to show to a generator; film the face."
        )
    return [PIL.Image.fromarray(portrait) for portrait in performer.portraits[:count]]


def fit(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    """The whole picture within `width` x `height`, undistorted, over a blurred copy of itself: cutting it could cut the face."""
    inner = _scaled(picture, min(width / picture.width, height / picture.height))
    cover = _scaled(picture, max(width / picture.width, height / picture.height))
    left, top = (cover.width - width) // 2, (cover.height - height) // 2
    canvas = cover.crop((left, top, left + width, top + height)).filter(PIL.ImageFilter.GaussianBlur(_BLUR * max(width, height)))
    canvas.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return canvas


def _scaled(picture: PIL.Image.Image, factor: float) -> PIL.Image.Image:
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, PIL.Image.Resampling.LANCZOS)
