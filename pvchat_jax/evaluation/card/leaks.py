"""Whether test videos, or nearly the same ones, were trained on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.config.run_directory import read_config
from pvchat_jax.data.near_duplicates import MIN_DISTANCE, NUM_FRAMES, SeenClips, hash_clip
from pvchat_jax.data.record_files import parse_file
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically

HASHES_FILE = "video_hashes.json"


class Leak(NamedTuple):
    """A test video that is nearly the same as a training video; `distance` is the share of bits of their hashes that differ."""

    test: str
    train: str
    distance: float


class LeakCheck(NamedTuple):
    """What was compared, and what was found.

    Attributes:
      leaks: the worst first.
      nearest: the smallest distance of any test video, where there was something to compare.
      not_checked: why videos, or all of them, were left out; one sentence each.
    """

    num_train: int
    num_test: int
    leaks: tuple[Leak, ...]
    nearest: float | None
    not_checked: tuple[str, ...]


def find_leaks(train: Iterable[str], test: Iterable[str], hashes: "VideoHashes", advance: Callable[[], None] = lambda: None) -> LeakCheck:
    """Compares every test video with every training video by their perceptual hashes (data/near_duplicates.py).

    Args:
      advance: called after every video.
    """
    seen, unreadable = SeenClips(), []
    found: list[Leak] = []
    train, test = list(dict.fromkeys(train)), list(dict.fromkeys(test))
    num_read = {"train": 0, "test": 0}
    for kind, videos in (("train", train), ("test", test)):
        for video in videos:
            video_hash = hashes.of(video)
            advance()
            if video_hash is None:
                unreadable.append(video)
                continue
            num_read[kind] += 1
            if kind == "train":
                seen.add(video, video_hash)
            elif (nearest := seen.nearest(video_hash)) is not None:
                found.append(Leak(video, *nearest))
    hashes.write()
    found.sort(key=lambda leak: leak.distance)
    reasons = (f"{len(unreadable)} videos could not be read, the first of them {unreadable[0]}.",) if unreadable else ()
    return LeakCheck(
        num_train=num_read["train"],
        num_test=num_read["test"],
        leaks=tuple(leak for leak in found if leak.distance < MIN_DISTANCE),
        nearest=found[0].distance if found else None,
        not_checked=reasons,
    )


class VideoHashes:
    """Hashes of video files, kept in a file as long as the video's size and time of change stay."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        if path is not None and path.is_file():
            try:
                self._known = dict(json.loads(path.read_text(encoding="utf-8")))
            except ValueError:
                self._known = {}  # a cache: it is made again

    def of(self, video: str) -> str | None:
        """The hash; None of a video that cannot be read."""
        try:
            status = Path(video).stat()
        except OSError:
            return None
        key = hashlib.sha256(f"{Path(video).absolute()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
        if key not in self._known:
            try:
                self._known[key] = hash_clip(read_frames(video, NUM_FRAMES).frames)
            except UserError:
                return None
        return self._known[key]

    def write(self) -> None:
        """Keeps what is known."""
        if self._path is not None:
            write_atomically(self._path, json.dumps(self._known) + "\n")


def training_videos(runs: Sequence[str], files: Sequence[Path]) -> tuple[list[str], tuple[str, ...]]:
    """Videos of the training sets: of `files` if there are any, or else of those that the configurations of `runs` name.

    Returns:
      The videos, and why some are not known, one sentence each.

    Raises:
      UserError: one of `files` cannot be read.
    """
    if files:
        return [video for path in files for video in _videos_in(path)], ()
    if not runs:
        return [], ("The training videos are not known, so test videos may be among them; name them with --train.",)
    videos: list[str] = []
    unknown: list[str] = []
    for run in runs:
        try:
            videos += _videos_in(Path(read_config(run).data.train))
        except UserError as error:
            unknown.append(str(error))
    if not unknown:
        return videos, ()
    which = "The training videos" if not videos else f"The training videos of {len(unknown)} of {len(runs)} runs"
    return videos, (f"{which} are not known ({unknown[0].rstrip('.')}); name them with --train.",)


def _videos_in(path: Path) -> list[str]:
    located, problems = parse_file(path, None)
    if not located:
        raise UserError(str(problems[0]))
    return [record.video for _, record in located]
