"""People: who is enrolled, adding a pack, learning somebody from a video, erasing."""

import datetime
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from pvchat_jax.registry.names import bare
from pvchat_jax.server import people, schemas
from pvchat_jax.server.enrolment import describe
from pvchat_jax.server.parts import ERRORS, Parts, TheCaller, TheParts
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.synthesis.privacy.consent import make_consent

router = APIRouter(prefix="/v1", responses=ERRORS)
# The page was made elsewhere: it may show its own pictures and styles, and do nothing.
_SHEET_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
_SHEET = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
_Short = Annotated[str | None, Form(max_length=200)]


@router.get("/subjects")
async def subjects(parts: TheParts) -> schemas.SubjectList:
    """Everybody who is enrolled."""
    everybody = await run_in_threadpool(parts.registry.people)
    base = await run_in_threadpool(lambda: parts.registry.base)
    found = [people.describe(person, datetime.date.today()) for person in everybody]
    note = parts.enrol_note
    return schemas.SubjectList(data=found, base=base.weights or "tiny" if base else None, can_enrol=not note, enrol_note=note)


@router.post("/subjects")
async def add(
    files: Annotated[list[UploadFile], File(description="the files of a pack's folder, or the one file that export made")],
    parts: TheParts,
    consent_by: _Short = None,
    consent_until: _Short = None,
) -> schemas.Subject:
    """Enrols the person of a pack that was made elsewhere."""
    today = datetime.date.today()
    consent = people.consent_of(consent_by, consent_until, today)
    person = await run_in_threadpool(people.add_pack, parts.registry, files, consent, today)
    await reload(parts)
    return people.describe(person, today)


@router.delete("/subjects/{name}")
async def erase(name: str, parts: TheParts, confirm: Annotated[str, Query(max_length=80, description="the name again")]) -> schemas.Erased:
    """Erases a person for good."""
    if bare(confirm).casefold() != bare(name).casefold():
        raise Refusal(400, "confirm is not the name of the person; nothing was erased.")
    await parts.enrolments.forget(name)
    now = datetime.datetime.now(datetime.UTC)
    receipt = await run_in_threadpool(people.erase, parts.registry, parts.settings, name, now)
    await reload(parts)
    return schemas.Erased(name=bare(name), receipt=receipt.name)


@router.post("/enrolments")
async def enrol(body: schemas.EnrolRequest, parts: TheParts, caller: TheCaller) -> schemas.EnrolmentResult:
    """Begins to learn a person from a video."""
    if parts.enrol_note:
        raise Refusal(409, parts.enrol_note)
    make_consent(body.consent_by, body.consent_until, ["train"], date=str(datetime.date.today()))  # refuses what cannot be
    known = await run_in_threadpool(parts.registry.people)
    if any(bare(person.name).casefold() == bare(body.name).casefold() for person in known):
        raise Refusal(409, f"{bare(body.name)} is enrolled already; choose another name, or erase that person first.")
    video = await run_in_threadpool(parts.library.find, body.video, caller.owner)
    return describe(await parts.enrolments.start(body, video, caller.owner))


@router.get("/enrolments")
async def enrolments(parts: TheParts, caller: TheCaller) -> schemas.EnrolmentList:
    """Those that the owner of the key has begun."""
    return schemas.EnrolmentList(data=[describe(one) for one in parts.enrolments.list(caller.owner)])


@router.get("/enrolments/{enrolment_id}")
async def enrolment(enrolment_id: str, parts: TheParts, caller: TheCaller) -> schemas.EnrolmentResult:
    """How far one is."""
    return await run_in_threadpool(describe, parts.enrolments.get(enrolment_id, caller.owner))


@router.post("/enrolments/{enrolment_id}/person")
async def choose(
    enrolment_id: str, person: Annotated[int, Query(ge=0, le=1000)], parts: TheParts, caller: TheCaller
) -> schemas.EnrolmentResult:
    """Says which of several people in the video is meant, by the number on the sheet."""
    found = parts.enrolments.get(enrolment_id, caller.owner)
    parts.enrolments.resume(found, person)
    return describe(found)


@router.delete("/enrolments/{enrolment_id}")
async def cancel(enrolment_id: str, parts: TheParts, caller: TheCaller) -> schemas.EnrolmentResult:
    """Ends an enrolment."""
    found = parts.enrolments.get(enrolment_id, caller.owner)
    await parts.enrolments.cancel(found)
    return describe(found)


@router.get("/enrolments/{enrolment_id}/sheet", responses=_SHEET, response_class=FileResponse)
async def sheet(enrolment_id: str, parts: TheParts, caller: TheCaller) -> FileResponse:
    """What was made of the video, or who is in it, as a page."""
    path = parts.enrolments.get(enrolment_id, caller.owner).sheet
    if path is None:
        raise Refusal(404, "there is nothing to look at yet.")
    return FileResponse(path, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _SHEET_POLICY})


async def reload(parts: Parts) -> None:
    """Takes in what changed in the registry."""
    await parts.asking.call("server", lambda assistant: parts.worker.reload())
