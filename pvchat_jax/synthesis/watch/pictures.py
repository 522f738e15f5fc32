"""Reads the pictures and videos of a corpus as upright frames of bounded size."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from pvchat_jax.data.preprocess import frame_indices
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError

PICTURES = frozenset(".avif .bmp .gif .heic .jpeg .jpg .png .tif .tiff .webp".split())
VIDEOS = frozenset(".avi .m4v .mkv .mov .mp4 .mpeg .mpg .ts .webm .wmv".split())
_VIDEO_FRAMES = 8
_MAX_SIDE = 1600  # pixels; detectors look at less, and a photograph of 50 megapixels would fill the memory


class Pictures(NamedTuple):
    """Frames of one file.

    Attributes:
      frames: uint8[H, W, 3] each, in RGB, upright.
      indices: of the frames in the video; 0 for a picture.
      scale: pixels of the file per pixel of a frame.
    """

    frames: list[np.ndarray]
    indices: list[int]
    scale: float


def read_pictures(path: Path) -> Pictures:
    """A picture, or eight frames of a video, as the suffix tells.

    Raises:
      UserError: the file cannot be decoded.
    """
    if path.suffix.lower() in PICTURES:
        images, indices = [_read_picture(path)], [0]
    else:
        video = read_frames(path, _VIDEO_FRAMES)
        indices = frame_indices(video.num_source_frames, _VIDEO_FRAMES).tolist()
        images = [Image.fromarray(frame) for frame in video.frames]
    width = images[0].width
    for image in images:
        image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.BICUBIC)
    return Pictures([np.asarray(image) for image in images], indices, width / images[0].width)


def read_frame(path: Path, index: int) -> np.ndarray:
    """The upright frame uint8[H, W, 3] in full size that `Pictures.indices` calls `index`.

    Raises:
      UserError: the file cannot be decoded, or has no such frame.
    """
    if path.suffix.lower() in PICTURES:
        return np.asarray(_read_picture(path))
    video = read_frames(path, _VIDEO_FRAMES)
    indices = frame_indices(video.num_source_frames, _VIDEO_FRAMES).tolist()
    if index not in indices:
        raise UserError(f"{path} has another length than when the corpus was indexed; build the index again.")
    return video.frames[indices.index(index)]


def _read_picture(path: Path) -> Image.Image:
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # damage makes Pillow's decoders raise errors of any kind
        raise UserError(f"{path} cannot be decoded ({error}); it is damaged or no picture, so replace or remove it.") from error
