"""Questions and answers: the part of OpenAI's interface that has a counterpart here, and the timeline of a video."""

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from pvchat_jax.registry.names import bare
from pvchat_jax.server import schemas
from pvchat_jax.server.answering import Event
from pvchat_jax.server.asking import ClientGone, while_connected
from pvchat_jax.server.completions import Completion, presence_result
from pvchat_jax.server.logs import log
from pvchat_jax.server.looking import require_somebody
from pvchat_jax.server.messages import MODEL, choose_names, decoding_options, known_name, read_conversation
from pvchat_jax.server.parts import ERRORS, TheCaller, TheParts
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.strip import even_bounds, look_along
from pvchat_jax.server.videos import check_video

router = APIRouter(prefix="/v1", responses=ERRORS)
_STREAMED = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
_CREATED = 1735689600  # of models, which OpenAI's schema asks for; nothing depends on it


@router.post("/chat/completions", response_model=schemas.ChatResponse, responses=_STREAMED)
async def complete(body: schemas.ChatRequest, request: Request, parts: TheParts, caller: TheCaller) -> Response | schemas.ChatResponse:
    """Answers the last question of a conversation about a video."""
    conversation = read_conversation(body.messages)
    options = decoding_options(body, parts.settings)
    names = choose_names(body.model, conversation, parts.worker.names, parts.settings.subjects)
    if parts.settings.log_content:
        log.info("question about %s: %r", ", ".join(names), conversation.question)
    client = caller.known_as(body.user)
    video = await run_in_threadpool(parts.library.find, conversation.video, caller.owner)
    try:
        watched = await while_connected(request, parts.looks.of(video, client))
        question = {"watched": watched, "names": names, "text": conversation.question, "history": conversation.history, "options": options}
        completion = Completion(body.model, watched.frame_times)
        if not body.stream:
            answered = await while_connected(request, parts.asking.answer(client, **question, is_streamed=False))
            return completion.whole(answered)
        events = parts.asking.events(client, **question, is_streamed=True)
        first = await while_connected(request, anext(events))  # what is refused is refused with a status
    except ClientGone:
        return Response(status_code=499)
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    return StreamingResponse(_lines(completion, first, events, with_usage), media_type="text/event-stream")


async def _lines(completion: Completion, first: Event, events: AsyncIterator[Event], with_usage: bool) -> AsyncIterator[str]:
    """Server-sent events; a failure on the way is the last of them."""

    async def all_events() -> AsyncIterator[Event]:
        yield first
        async for event in events:
            yield event

    try:
        async for chunk in completion.stream(all_events(), with_usage=with_usage):
            yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"
    except Refusal as refusal:
        yield f"data: {json.dumps(refusal.body)}\n\n"
    except Exception:
        log.exception("a stream failed")
        yield f"data: {json.dumps(Refusal(500, 'the server failed; its log says more.').body)}\n\n"
    finally:
        await events.aclose()  # frees the slot when the client hangs up


@router.get("/models")
async def models(parts: TheParts) -> schemas.ModelList:
    """`pvchat`, and a model for each person."""
    names = [MODEL, *(f"{MODEL}:{bare(name)}" for name in parts.worker.names)]
    return schemas.ModelList(data=[schemas.Model(id=name, created=_CREATED) for name in names])


@router.get("/models/{model}")
async def model(model: str, parts: TheParts) -> schemas.Model:
    """One of them."""
    base, _, name = model.partition(":")
    if base != MODEL or (name and not known_name(name, parts.worker.names)):
        raise Refusal(404, f"there is no model '{model[:80]}'; GET /v1/models lists what there is.")
    return schemas.Model(id=model, created=_CREATED)


@router.post("/timeline")
async def timeline(body: schemas.TimelineRequest, request: Request, parts: TheParts, caller: TheCaller) -> schemas.TimelineResponse:
    """Where in a video people are."""
    names = list(dict.fromkeys(known_name(name, parts.worker.names) for name in body.names))
    video = await run_in_threadpool(parts.library.find, body.video, caller.owner)
    facts = await run_in_threadpool(lambda: check_video(video.path, max_seconds=float("inf"), max_pixels=parts.settings.video_pixels))
    bounds = even_bounds(facts.seconds, body.seconds, parts.settings.windows)
    num_frames = await parts.asking.call(caller.client, lambda assistant: require_somebody(assistant).num_frames)
    work = look_along(parts.asking, parts.looks, video, names, bounds, num_frames, caller.client)
    try:
        windows = await while_connected(request, work)
    except ClientGone:
        return Response(status_code=499)
    results = [
        schemas.WindowResult(
            start=round(window.start, 3),
            end=round(window.end, 3),
            presence={name: presence_result(presence) for name, presence in window.presence.items()},
        )
        for window in windows
    ]
    return schemas.TimelineResponse(seconds=round(facts.seconds, 3), windows=results)
