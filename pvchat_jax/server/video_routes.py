"""Videos: uploads as OpenAI's clients make them, what lies in the server's folder, and what is in either."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from pvchat_jax.server import schemas
from pvchat_jax.server.parts import ERRORS, TheCaller, TheParts
from pvchat_jax.server.uploads import Upload, Uploads
from pvchat_jax.server.videos import check_video, frame_at

router = APIRouter(prefix="/v1", responses=ERRORS)
_VIDEO = {200: {"content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}}}
_PICTURE = {200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("/files")
async def upload(
    file: Annotated[UploadFile, File()],
    parts: TheParts,
    caller: TheCaller,
    purpose: Annotated[str, Form(max_length=100)] = "user_data",
) -> schemas.File:
    """Keeps a video for a while."""
    added = await run_in_threadpool(parts.uploads.add, file.file, file.filename or "video", caller.owner)
    parts.metrics.uploads.set(parts.uploads.total_bytes())
    return _described(added, parts.uploads)


@router.get("/files")
async def uploads(parts: TheParts, caller: TheCaller) -> schemas.FileList:
    """What the owner of the key has uploaded."""
    return schemas.FileList(data=[_described(one, parts.uploads) for one in parts.uploads.list(caller.owner)])


@router.get("/files/{file_id}")
async def file(file_id: str, parts: TheParts, caller: TheCaller) -> schemas.File:
    """One of them."""
    return _described(parts.uploads.get(file_id, caller.owner), parts.uploads)


@router.delete("/files/{file_id}")
async def delete(file_id: str, parts: TheParts, caller: TheCaller) -> schemas.Deleted:
    """Deletes an upload."""
    parts.uploads.remove(file_id, caller.owner)
    parts.looks.forget_deleted()
    parts.metrics.uploads.set(parts.uploads.total_bytes())
    return schemas.Deleted(id=file_id, object="file")


@router.get("/files/{file_id}/content", responses=_VIDEO, response_class=FileResponse)
async def content(file_id: str, parts: TheParts, caller: TheCaller) -> FileResponse:
    """The video itself."""
    found = parts.uploads.get(file_id, caller.owner)
    return FileResponse(found.path, media_type=found.facts.media_type)


@router.get("/videos")
async def videos(parts: TheParts) -> schemas.VideoList:
    """Paths in the server's folder."""
    return schemas.VideoList(data=await run_in_threadpool(parts.library.list))


@router.get("/videos/content", responses=_VIDEO, response_class=FileResponse)
async def video_content(video: Annotated[schemas.Reference, Query(max_length=1000)], parts: TheParts, caller: TheCaller) -> FileResponse:
    """An upload or a video of the folder, for the page's player."""
    found = await run_in_threadpool(parts.library.find, video, caller.owner)
    return FileResponse(found.path, media_type=await run_in_threadpool(_media_type, found.path))


@router.get("/videos/frame", responses=_PICTURE, response_class=Response)
async def frame(
    video: Annotated[schemas.Reference, Query(max_length=1000)],
    time: Annotated[schemas.Seconds, Query()],
    parts: TheParts,
    caller: TheCaller,
) -> Response:
    """The frame shown at a time, in seconds, as a picture."""
    found = await run_in_threadpool(parts.library.find, video, caller.owner)
    picture = await run_in_threadpool(frame_at, found.path, time)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})


def _media_type(path: Path) -> str:
    return check_video(path, max_seconds=float("inf"), max_pixels=10**12).media_type


def _described(upload: Upload, uploads: Uploads) -> schemas.File:
    return schemas.File(
        id=upload.id,
        bytes=upload.bytes,
        created_at=upload.created,
        expires_at=uploads.expires(upload),
        filename=upload.filename,
        seconds=round(upload.facts.seconds, 3),
    )
