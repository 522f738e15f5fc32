"""Features of videos in files, one for each draw of frames, that are read in the place of decoding.

A file holds the numbers [N, L, D] in C order and then 4 bytes, their CRC-32. Files are written under another name and moved into
place, so a process that is killed leaves no half of one. They are not forced onto the disk: what a power cut leaves of them
does not fit the checksum.
"""

import dataclasses
import math
import os
import zlib
from pathlib import Path

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.files import temporary_beside

_CHECKSUM_BYTES = 4


def file_size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of a file of such features."""
    return math.prod(shape) * dtype.itemsize + _CHECKSUM_BYTES


def write_features(path: Path, features: np.ndarray) -> None:
    """Makes `path` hold [N, L, D] features, all of them or none."""
    content = np.ascontiguousarray(features).view(np.uint8).ravel()
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.write(zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little"))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class StoredFeatures:
    """The features that a run reads; it travels to workers as the names of the files.

    Attributes:
      name: in a batch, as `TrainConfig.stored_features` tells it.
      folder: where the files are.
      files: name of the file of each row; `data.pipeline.feature_row` tells which row is whose.
      shape: (N, L, D) of each.
      dtype: of each.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    _checked: set[Path] = dataclasses.field(default_factory=set, init=False, compare=False)

    def read(self, row: int) -> np.ndarray:
        """Row `row`, [N, L, D] of `dtype`. The first time, the file is compared with its checksum.

        Raises:
          UserError: the file is gone, or damaged; then it is removed, lest it be taken for whole again.
        """
        path = self.folder / self.files[row]
        try:
            stored = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError) as error:  # ValueError: it is empty
            raise UserError(f"features {path} cannot be read ({error}); start the run again, which encodes their video anew.") from error
        if len(stored) != file_size(self.shape, self.dtype) or not (path in self._checked or _fits_checksum(stored)):
            path.unlink(missing_ok=True)
            raise UserError(f"features {path} were damaged and are removed; start the run again, which encodes their video anew.")
        self._checked.add(path)
        return np.array(stored[:-_CHECKSUM_BYTES].view(self.dtype).reshape(self.shape))


def _fits_checksum(stored: np.ndarray) -> bool:
    return zlib.crc32(stored[:-_CHECKSUM_BYTES]) == int.from_bytes(stored[-_CHECKSUM_BYTES:].tobytes(), "little")
