"""The videos that a client may name: what it uploaded, and what lies in the one folder that the server was given."""

import base64
import binascii
import io
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pvchat_jax.errors import UserError
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.uploads import Uploads
from pvchat_jax.server.videos import SUFFIXES, check_video

_MOST_LISTED = 500
_UPLOAD = "file-"


class Video(NamedTuple):
    """Where a video lies, and what the client calls it."""

    path: Path
    label: str


class Library:
    """Finds videos by what clients write: the id of an upload, a path in the folder, or a `data:` or `file:` address."""

    def __init__(self, settings: Settings, uploads: Uploads) -> None:
        self._settings, self._uploads = settings, uploads
        self._folder = settings.videos.resolve() if settings.videos else None
        self._checked: dict[Path, tuple[int, int]] = {}

    def find(self, reference: str, owner: str) -> Video:
        """The video that `reference` names.

        Raises:
          Refusal: there is none, or the client may not use it.
        """
        if reference.startswith(_UPLOAD):
            upload = self._uploads.get(reference, owner)
            return Video(upload.path, upload.filename)
        scheme = urlsplit(reference).scheme.lower() if ":" in reference[:32] else ""
        if scheme == "data":
            upload = self._uploads.add(io.BytesIO(_decode(reference)), "video", owner)
            return Video(upload.path, upload.filename)
        if scheme in ("http", "https", "ftp"):
            raise Refusal(400, "this server fetches nothing from other addresses; upload the video to /v1/files and name its id.")
        if scheme == "file":
            reference = unquote(urlsplit(reference).path)
        path = self._inside(reference)
        return Video(path, os.path.relpath(path, self._folder))

    def list(self) -> list[str]:
        """Paths of the folder's videos, in order."""
        if self._folder is None:
            return []
        found = []
        for folder, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [os.path.relpath(os.path.join(folder, name), self._folder) for name in sorted(names) if _is_shown(name)]
            if len(found) >= _MOST_LISTED:
                break
        return found[:_MOST_LISTED]

    def _inside(self, name: str) -> Path:
        """A file of the folder, wherever links lead; whatever is not one gets the same answer, so that nothing can be found out."""
        refusal = Refusal(404, f"there is no video '{name[:200]}' in the server's folder; GET /v1/videos lists what there is.")
        if self._folder is None:
            raise Refusal(404, "this server was given no folder of videos; upload the video to /v1/files and name its id.")
        try:
            path = (self._folder / name).resolve(strict=True)
            is_file = path.is_file()
        except (OSError, ValueError, RuntimeError):  # nothing there, a name that cannot be, links in a circle
            raise refusal from None
        if not path.is_relative_to(self._folder) or not is_file or not _is_shown(path.name):
            raise refusal
        self._check(path)
        return path

    def _check(self, path: Path) -> None:
        """Checks a video of the folder when it is first used, and again when it changed."""
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size)
        if self._checked.get(path) != stamp:
            try:
                check_video(path, max_seconds=float("inf"), max_pixels=self._settings.video_pixels)
            except UserError as error:
                raise Refusal(400, str(error).replace(str(path), f"'{os.path.relpath(path, self._folder)}'")) from error
            self._checked[path] = stamp


def _is_shown(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _decode(address: str) -> bytes:
    """The bytes in `data:video/mp4;base64,...`.

    Raises:
      Refusal: it is written otherwise.
    """
    head, comma, content = address.partition(",")
    if not comma or not head.endswith(";base64"):
        raise Refusal(400, "the data: address of the video is not written as data:video/mp4;base64,...; write it so, or upload the file.")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, "the data: address of the video is no base64; encode it again, or upload the file.") from None
