"""Clips of records as an enrolled person's pack scores them: for calibrating it, and for comparing people."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.assistant.videos import Watched, read_window
from pvchat_jax.data.record_files import parse_file
from pvchat_jax.data.records import Record
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.presence_calibration import Scored

_AT_ONCE = 16  # videos in memory


class Clips(NamedTuple):
    """Videos of records that could be read, as the model saw them, and why others could not."""

    records: list[Record]
    watched: list[Watched]
    set_aside: list[str]


def read_clips(path: Path) -> list[Record]:
    """Records of one subject, whatever the name there is.

    Raises:
      UserError: the file cannot be read, or its first wrong field.
    """
    located, problems = parse_file(path, None)
    if problems:
        raise UserError(str(problems[0]))
    return [record for _, record in located]


def watch_clips(assistant: Assistant, records: Sequence[Record], done: Callable[[int], object] = lambda number: None) -> Clips:
    """Looks at the whole video of each record.

    Args:
      done: is told how many were looked at since the last time.

    Raises:
      UserError: none of the videos can be read.
    """
    clips = Clips([], [], [])
    for start in range(0, len(records), _AT_ONCE):
        batch = records[start : start + _AT_ONCE]
        readable, windows = [], []
        for record in batch:
            try:
                windows.append(read_window(Path(record.video), assistant.num_frames, None, None))
            except UserError as error:
                clips.set_aside.append(str(error))
            else:
                readable.append(record)
        watched = assistant.watch_frames([window.frames for window in windows], [window.times for window in windows], "clips")
        clips.records.extend(readable)
        clips.watched.extend(watched)
        done(len(batch))
    if not clips.records:
        raise UserError(f"none of the {len(records)} videos can be read; the first: {clips.set_aside[0]}")
    return clips


def score(assistant: Assistant, name: str, clips: Clips) -> list[Scored]:
    """The log-odds of the person called `name` in each clip, with the clip's role."""
    odds = assistant.log_odds(clips.watched, name)
    return [Scored(value, record.role) for value, record in zip(odds, clips.records, strict=True)]
