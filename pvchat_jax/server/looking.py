"""Videos as the model saw them, kept for a while so that each is read and encoded once, whoever asks about it."""

import asyncio
import collections
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.assistant.videos import Watched, read_window
from pvchat_jax.errors import UserError
from pvchat_jax.server.asking import Asking
from pvchat_jax.server.library import Video
from pvchat_jax.server.metrics import Metrics
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.videos import frames_at

_KEPT = 16  # videos
_READERS = 4  # videos that are decoded at a time

_Key = tuple[Path, int, int]
_Result = TypeVar("_Result")


def require_somebody(assistant: Assistant | None) -> Assistant:
    """The assistant.

    Raises:
      Refusal: nobody was ever enrolled.
    """
    if assistant is None:
        raise Refusal(404, "nobody is enrolled yet; enrol somebody on the page, or with: python -m pvchat_jax.subjects add RUN_OR_PACK")
    return assistant


class Looks:
    """What was looked at last."""

    def __init__(self, asking: Asking, metrics: Metrics) -> None:
        self._asking, self._metrics = asking, metrics
        self._kept: collections.OrderedDict[_Key, asyncio.Task[Watched]] = collections.OrderedDict()
        self._readers = asyncio.Semaphore(_READERS)

    async def of(self, video: Video, client: str) -> Watched:
        """A video as the model sees it.

        Raises:
          Refusal: it cannot be read.
        """
        state = video.path.stat()
        key = (video.path, state.st_mtime_ns, state.st_size)
        task = self._kept.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._kept[key] = asyncio.create_task(self._look(video, client))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return await asyncio.shield(task)  # others may wait for it too

    def forget_deleted(self) -> None:
        """Drops videos whose files are gone."""
        for key in [key for key in self._kept if not key[0].exists()]:
            del self._kept[key]

    def forget_all(self) -> None:
        """Drops all videos."""
        self._kept.clear()

    async def windows(self, video: Video, windows: Sequence[Sequence[float]], client: str) -> list[Watched]:
        """Windows of a video, each given by the times of its frames in seconds, as the model sees them; they are not kept.

        Raises:
          Refusal: it cannot be read.
        """
        times = [time for window in windows for time in window]
        frames = await self._read(video, lambda: frames_at(video.path, times))
        arrays = np.split(frames, len(windows))
        return await self._watch(video, arrays, [tuple(window) for window in windows], client)

    async def _look(self, video: Video, client: str) -> Watched:
        num_frames = await self._asking.call(client, lambda assistant: require_somebody(assistant).num_frames)
        window = await self._read(video, lambda: read_window(video.path, num_frames, None, None))
        return (await self._watch(video, [window.frames], [window.times], client))[0]

    async def _read(self, video: Video, read: Callable[[], _Result]) -> _Result:
        try:
            async with self._readers:
                return await run_in_threadpool(read)
        except UserError as error:
            raise Refusal(400, str(error).replace(str(video.path), f"'{video.label}'")) from error

    async def _watch(self, video: Video, arrays: list[np.ndarray], times: list[tuple[float, ...]], client: str) -> list[Watched]:
        self._metrics.looked.inc(len(arrays))
        return await self._asking.call(client, lambda assistant: require_somebody(assistant).watch_frames(arrays, times, video.label))
