"""The side of the event loop: questions and calls go to the worker's thread, and what it says comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.server.answering import Answered, Event, Piece, Question
from pvchat_jax.server.metrics import Metrics
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.worker import Call, Worker

_Result = TypeVar("_Result")


class ClientGone(Exception):
    """Nobody is there any more to be answered."""


class Asking:
    """What the routes do with the worker."""

    def __init__(self, worker: Worker, settings: Settings, metrics: Metrics) -> None:
        self._worker, self._settings, self._metrics = worker, settings, metrics

    async def call(self, client: str, work: Callable[[Assistant | None], _Result]) -> _Result:
        """The result of `work`, which is done in the worker's thread when it is the client's turn.

        Raises:
          Refusal: too much is waiting, it took too long, or `work` failed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()

        def settle(result: Any) -> None:
            if future.done():
                return
            if isinstance(result, Refusal):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._worker.submit(client, Call(work, lambda result: _tell(loop, settle, result)))
        try:
            return await asyncio.wait_for(future, self._settings.timeout)
        except TimeoutError:
            raise self._too_late() from None

    async def events(self, client: str, **question: Any) -> AsyncIterator[Event]:
        """What happens to a question; `Answered` is the last. Whoever stops listening frees the slot.

        Args:
          question: fields of `Question` but `deliver`.

        Raises:
          Refusal: it cannot be answered, or not in time.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[Event] = asyncio.Queue()
        asked = Question(**question, deliver=lambda event: _tell(loop, told.put_nowait, event))
        start = time.monotonic()
        self._worker.submit(client, asked)
        has_text, reason = False, "client"
        try:
            while True:
                try:
                    event = await asyncio.wait_for(told.get(), start + self._settings.timeout - time.monotonic())
                except TimeoutError:
                    reason = "timeout"
                    raise self._too_late() from None
                if isinstance(event, Refusal):
                    reason = ""
                    raise event
                if isinstance(event, Piece | Answered) and not has_text:
                    has_text = True
                    self._metrics.first_piece.observe(time.monotonic() - start)
                reason = "" if isinstance(event, Answered) else reason
                yield event
                if isinstance(event, Answered):
                    return
        finally:
            if reason:
                self._worker.cancel(asked)
                self._metrics.cancelled.labels(reason).inc()

    async def answer(self, client: str, **question: Any) -> Answered:
        """The answer once it is complete.

        Raises:
          Refusal: as `events`.
        """
        async for event in self.events(client, **question):
            if isinstance(event, Answered):
                return event
        raise AssertionError("an answer has an end")

    def _too_late(self) -> Refusal:
        return Refusal(504, f"there was no answer within {self._settings.timeout:g} s; try again when less is going on.", retry_after=10)


async def while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of `work`, which is given up as soon as the client hangs up.

    Raises:
      ClientGone: it did.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[[Any], None], value: Any) -> None:
    """Calls `function` in the event loop, unless that has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, value)
