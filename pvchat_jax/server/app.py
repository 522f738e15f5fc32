"""The application: routes, what every request goes through, and what begins and ends with the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.errors import UserError
from pvchat_jax.inference.engine import Engine
from pvchat_jax.inference.lane import Lane, LaneShape
from pvchat_jax.registry.registry import Registry
from pvchat_jax.server import chat_routes, people_routes, schemas, video_routes
from pvchat_jax.server.access import SESSION_COOKIE, Guard, Keys
from pvchat_jax.server.asking import Asking
from pvchat_jax.server.enrolment import Commands, Enrolments
from pvchat_jax.server.library import Library
from pvchat_jax.server.logs import RequestLog
from pvchat_jax.server.looking import Looks
from pvchat_jax.server.metrics import CONTENT_TYPE, Metrics
from pvchat_jax.server.parts import ERRORS, Parts, TheParts
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.replies import BodyLimit, SafeHeaders, refuse
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.uploads import Uploads
from pvchat_jax.server.worker import AnyLane, Worker

_STATIC = Path(str(files("pvchat_jax.server") / "static"))
_UPLOAD_PATHS = ("/v1/files", "/v1/subjects")
_FORM_BYTES = 2**16  # around the file of an upload
_SECONDS_BETWEEN_EXPIRIES = 30.0


def create_app(
    registry: Registry,
    settings: Settings,
    commands: Commands,
    *,
    enrol_note: str = "",
    release_memory: Callable[[], None] = lambda: None,
    open_assistant: Callable[[], Assistant | None],
    open_lane: Callable[[Engine, LaneShape], AnyLane] = Lane,
) -> FastAPI:
    """The server as an ASGI application; the model is loaded when it starts.

    Args:
      enrol_note, release_memory: see `Parts`.
    """
    keys, metrics = Keys(settings.keys), Metrics()
    worker = Worker(open_assistant, settings, metrics, open_lane)
    asking = Asking(worker, settings, metrics)
    uploads = Uploads(settings)
    # /docs would load scripts from elsewhere
    app = FastAPI(title="pvchat_jax", version="1", docs_url=None, redoc_url=None, lifespan=_lifespan)
    parts = Parts(
        settings=settings,
        registry=registry,
        keys=keys,
        metrics=metrics,
        worker=worker,
        asking=asking,
        looks=Looks(asking, metrics),
        uploads=uploads,
        library=Library(settings, uploads),
        enrolments=Enrolments(settings.workspace, commands, lambda: people_routes.reload(parts)),
        enrol_note=enrol_note,
        release_memory=release_memory,
    )
    app.state.parts = parts
    for router in (chat_routes.router, video_routes.router, people_routes.router):
        app.include_router(router)
    _add_pages(app)
    for kind, handler in ((Refusal, _refused), (UserError, _user_error), (HTTPException, _http_error), (RequestValidationError, _invalid)):
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, _failed)
    # The one added last is the first that a request meets.
    app.add_middleware(BodyLimit, settings.body_bytes, settings.upload_bytes + _FORM_BYTES, _UPLOAD_PATHS)
    app.add_middleware(Guard, keys, settings.hosts)
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog, metrics, settings.log_content)
    return app


def _add_pages(app: FastAPI) -> None:
    """The page, its key, and what watches over the server."""
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/health", responses={503: {"model": schemas.Health}})
    async def health(parts: TheParts) -> Response:
        """Whether questions are answered."""
        worker = parts.worker
        status = schemas.Health(status="ok" if worker.is_alive else "failing", waiting=worker.num_waiting, open=worker.num_open)
        return JSONResponse(status.model_dump(), 200 if worker.is_alive else 503)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **ERRORS})
    async def metrics(parts: TheParts) -> Response:
        """Numbers for Prometheus."""
        parts.metrics.enrolments.set(parts.enrolments.num_running)
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE)

    @app.post("/session", status_code=204, responses=ERRORS)
    async def session(body: schemas.KeyGiven, parts: TheParts, request: Request) -> Response:
        """Lets a browser in that shows a key."""
        response = Response(status_code=204)
        token = parts.keys.open_session(body.key)
        response.set_cookie(SESSION_COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return response


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    await run_in_threadpool(parts.worker.start)
    expiring = asyncio.create_task(_expire(parts))
    try:
        yield
    finally:
        expiring.cancel()
        await parts.enrolments.close()
        await run_in_threadpool(parts.worker.stop)
        parts.looks.forget_all()
        parts.uploads.clear()


async def _expire(parts: Parts) -> None:
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_EXPIRIES)
        await run_in_threadpool(parts.uploads.expire)
        parts.looks.forget_deleted()
        parts.metrics.uploads.set(parts.uploads.total_bytes())
        await run_in_threadpool(parts.release_memory)


async def _refused(request: Request, error: Refusal) -> Response:
    return refuse(error)


async def _user_error(request: Request, error: UserError) -> Response:
    return refuse(Refusal(400, str(error)))


async def _http_error(request: Request, error: HTTPException) -> Response:
    response = refuse(Refusal(error.status_code, f"{str(error.detail)[:1].lower()}{str(error.detail)[1:]}"))
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return refuse(Refusal(422, f"{where[:200]}: {first['msg'][:1].lower()}{first['msg'][1:300]}."))


async def _failed(request: Request, error: Exception) -> Response:
    return refuse(Refusal(500, "the server failed; its log says more."))
