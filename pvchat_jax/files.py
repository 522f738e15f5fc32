"""Writing files so that a crash, a full disk or a reader at the wrong moment never meets half of one."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


def temporary_beside(path: Path) -> Path:
    """A name in the folder of `path` that nobody else uses: numbers of processes repeat between the containers that share a disk."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Makes `path` hold all of `content` or, when that fails, what it held before; makes its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Gives an empty directory to fill, which becomes `path` when the block ends and vanishes when it fails.

    Raises:
      FileExistsError: `path` is taken.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    temporary = temporary_beside(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():  # safetensors lets nobody but the owner read what it writes, whatever the umask says
                file.chmod(temporary.stat().st_mode & 0o666)
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
