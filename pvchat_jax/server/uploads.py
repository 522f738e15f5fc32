"""Videos that clients sent: kept in one folder for a while, and gone with the server."""

import dataclasses
import errno
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pvchat_jax.errors import UserError
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.videos import VideoFacts, check_video

_CHUNK = 2**20
_LONGEST_NAME = 120


@dataclasses.dataclass
class Upload:
    """One video; `owner` alone may use it. `used` is when that was last, in seconds of the clock."""

    id: str
    path: Path
    filename: str
    owner: str
    bytes: int
    created: int
    facts: VideoFacts
    used: float


class Uploads:
    """All of them, for several threads.

    Args:
      settings: the folder `uploads` in its workspace is emptied at the start and at the end.
      clock: seconds; tests have one of their own.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._folder = settings.workspace / "uploads"
        self._kept: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self.clear()

    def add(self, stream: BinaryIO, filename: str, owner: str) -> Upload:
        """Writes a video to the disk and checks it; nothing stays of one that is refused.

        Raises:
          Refusal: it is too long, damaged or no video, or there is no room.
        """
        self.expire()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = "file-" + secrets.token_hex(12)
        path, label = self._folder / name, shown_name(filename)
        try:
            size = self._write(stream, path, label)
            limits = {"max_seconds": self._settings.video_seconds, "max_pixels": self._settings.video_pixels}
            facts = check_video(path, **limits)
        except UserError as error:
            path.unlink(missing_ok=True)
            raise Refusal(400, str(error).replace(str(path), f"'{label}'")) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        upload = Upload(name, path, label, owner, size, int(time.time()), facts, self._clock())
        with self._lock:
            self._kept[name] = upload
        return upload

    def get(self, name: str, owner: str) -> Upload:
        """The video of that id, which was used now.

        Raises:
          Refusal: there is none, or it is somebody else's.
        """
        self.expire()
        with self._lock:
            upload = self._kept.get(name)
            if upload is None or upload.owner != owner:
                raise Refusal(404, f"there is no file '{name[:60]}'; it may have expired, upload it again.")
            upload.used = self._clock()
            return upload

    def list(self, owner: str) -> list[Upload]:
        """Those of `owner`, the newest first."""
        self.expire()
        with self._lock:
            return [upload for upload in reversed(self._kept.values()) if upload.owner == owner]

    def remove(self, name: str, owner: str) -> None:
        """Deletes a video.

        Raises:
          Refusal: as `get`.
        """
        upload = self.get(name, owner)
        with self._lock:
            self._kept.pop(upload.id, None)
        upload.path.unlink(missing_ok=True)

    def expires(self, upload: Upload) -> int:
        """When an unused video goes, in seconds since 1970."""
        return int(time.time() + upload.used + self._settings.upload_ttl - self._clock())

    def expire(self) -> None:
        """Deletes what nobody has used for long."""
        with self._lock:
            for upload in self._old():
                del self._kept[upload.id]
                upload.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Deletes all."""
        with self._lock:
            self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def total_bytes(self) -> int:
        """Of all videos."""
        with self._lock:
            return sum(upload.bytes for upload in self._kept.values())

    def _old(self) -> Iterator[Upload]:
        oldest = self._clock() - self._settings.upload_ttl
        yield from [upload for upload in self._kept.values() if upload.used < oldest]

    def _write(self, stream: BinaryIO, path: Path, label: str) -> int:
        """Copies `stream`, and returns its bytes."""
        size, room = 0, self._settings.all_upload_bytes - self.total_bytes()
        try:
            with path.open("xb") as file:
                path.chmod(0o600)
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    if size > self._settings.upload_bytes:
                        most = self._settings.upload_bytes / 2**20
                        raise Refusal(413, f"'{label}' is longer than {most:.0f} MiB, which is the most; send a shorter video.")
                    if size > room:
                        raise Refusal(507, "there is no room for another upload; delete some, or wait until they expire.")
                    file.write(chunk)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise Refusal(507, "the server's disk is full; tell whoever runs it.") from error
            raise
        return size


def shown_name(filename: str) -> str:
    """What a client calls a file, made fit to be shown: its last part, without control characters."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:_LONGEST_NAME] or "video"
