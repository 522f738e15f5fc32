"""Answers in OpenAI's form, whole and as a stream of events."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from pvchat_jax.assistant.presence import Presence
from pvchat_jax.server import schemas
from pvchat_jax.server.answering import Answered, Began, Event, Piece


class Completion:
    """One answer on its way to a client.

    Args:
      model: as the client wrote it. frame_times: of the frames that the model saw, in seconds.
    """

    def __init__(self, model: str, frame_times: tuple[float, ...]) -> None:
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._model, self._frame_times = model, frame_times

    def whole(self, answered: Answered) -> schemas.ChatResponse:
        """The response."""
        message = schemas.AnswerMessage(content=answered.text)
        return schemas.ChatResponse(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[schemas.Choice(message=message, finish_reason=_reason(answered))],
            usage=_usage(answered),
            pvchat=self._extension(answered.presence),
        )

    async def stream(self, events: AsyncIterator[Event], *, with_usage: bool) -> AsyncIterator[dict[str, Any]]:
        """The chunks, the first of which says who is there."""
        async for event in events:
            if isinstance(event, Began):
                yield self._chunk({"role": "assistant", "content": ""}) | {"pvchat": self._extension(event.presence).model_dump()}
            elif isinstance(event, Piece):
                yield self._chunk({"content": event.text})
            elif isinstance(event, Answered):
                yield self._chunk({}, _reason(event))
                if with_usage:
                    yield self._chunk(None) | {"usage": _usage(event).model_dump()}

    def _chunk(self, delta: dict[str, str] | None, reason: str | None = None) -> dict[str, Any]:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        return head | {"choices": choices}

    def _extension(self, presence: dict[str, Presence]) -> schemas.Extension:
        found = {name: presence_result(one) for name, one in presence.items()}
        return schemas.Extension(presence=found, frame_times=[round(time, 3) for time in self._frame_times])


def presence_result(presence: Presence) -> schemas.PresenceResult:
    """As responses have it."""
    return schemas.PresenceResult(
        probability=round(presence.probability, 6), verdict=presence.verdict, log_odds=round(presence.log_odds, 4)
    )


def _reason(answered: Answered) -> str:
    return "stop" if answered.is_complete else "length"


def _usage(answered: Answered) -> schemas.Usage:
    read, written = answered.num_prompt_tokens, answered.num_tokens
    return schemas.Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
