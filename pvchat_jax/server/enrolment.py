"""Learning a person from a video, in a process of its own while the server goes on."""

import asyncio
import dataclasses
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from pvchat_jax.registry.names import bare
from pvchat_jax.server.library import Video
from pvchat_jax.server.progress import PEOPLE_FILE, SHEET_FILE, read_scores, read_steps, read_verdict
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.schemas import EnrolmentResult, EnrolRequest, Step

_FOLDER = "enrolments"
_SET, _FILMED, _LOG = "set", "filmed", "log.txt"
_GRACE_SECONDS = 10.0  # to save after SIGTERM
_KEPT = 50
_SEVERAL = "several people are seen"  # what personalize says where only a user can tell who is meant
_NAME = re.compile(r"\w[\w-]{0,39}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Commands:
    """What the processes are; `{...}` are filled in.

    Attributes:
      learn: makes a run out of `{video}`, `{name}`, `{out}`, `{consent_by}`, `{consent_until}`.
      add: puts the run in `{run}` into the registry, with the consent in `{consent}`.
    """

    learn: tuple[str, ...]
    add: tuple[str, ...]


@dataclasses.dataclass(eq=False)
class Enrolment:
    """One person on the way; `owner` started it."""

    id: str
    name: str
    owner: str
    folder: Path
    video: str
    request: EnrolRequest
    state: str = "running"
    message: str = ""
    task: asyncio.Task[None] | None = None

    @property
    def set_folder(self) -> Path:
        return self.folder / _SET

    @property
    def sheet(self) -> Path | None:
        """The page to look at: who is in the video where that is to be chosen, otherwise what was made."""
        path = self.set_folder / (PEOPLE_FILE if self.state == "choose" else SHEET_FILE)
        return path if path.is_file() else None


class Enrolments:
    """One at a time.

    Args:
      workspace: gets the folder `enrolments`.
      on_enrolled: is awaited when somebody is in the registry.
    """

    def __init__(self, workspace: Path, commands: Commands, on_enrolled: Callable[[], Awaitable[None]]) -> None:
        self._folder, self._commands, self._on_enrolled = workspace / _FOLDER, commands, on_enrolled
        self._all: dict[str, Enrolment] = {}
        for left in self._folder.glob(f"*/{_FILMED}"):  # of a server that was killed
            left.unlink()

    @property
    def num_running(self) -> int:
        return sum(one.state == "running" for one in self._all.values())

    async def start(self, request: EnrolRequest, video: Video, owner: str) -> Enrolment:
        """Begins to learn somebody.

        Raises:
          Refusal: another enrolment is running, or the name cannot be one.
        """
        if self.num_running:
            raise Refusal(409, "another enrolment is running; wait until it is done, or cancel it.")
        name = bare(request.name)
        if _NAME.fullmatch(name) is None:
            raise Refusal(400, f"the name '{name[:60]}' has other characters than letters, digits, - and _; choose another.")
        number = "enrol-" + secrets.token_hex(8)
        enrolment = Enrolment(number, name, owner, self._folder / number, str(video.path), request)
        self._all[number] = enrolment
        while len(self._all) > _KEPT:
            self._all.pop(next(iter(self._all)))
        await run_in_threadpool(self._copy, enrolment, video)
        enrolment.task = asyncio.create_task(self._run(enrolment))
        return enrolment

    def resume(self, enrolment: Enrolment, person: int) -> None:
        """Goes on after the client said which of several people is meant.

        Raises:
          Refusal: nobody asked.
        """
        if enrolment.state != "choose" or self.num_running:
            raise Refusal(409, "there is nothing to choose now.")
        enrolment.request = enrolment.request.model_copy(update={"person": person})
        enrolment.state, enrolment.message = "running", ""
        enrolment.task = asyncio.create_task(self._run(enrolment))

    def get(self, number: str, owner: str) -> Enrolment:
        """The enrolment of that id.

        Raises:
          Refusal: there is none, or it is somebody else's.
        """
        enrolment = self._all.get(number)
        if enrolment is None or enrolment.owner != owner:
            raise Refusal(404, f"there is no enrolment '{number[:60]}'.")
        return enrolment

    def list(self, owner: str) -> list[Enrolment]:
        """Those of `owner`, the newest first."""
        return [one for one in reversed(self._all.values()) if one.owner == owner]

    async def cancel(self, enrolment: Enrolment) -> None:
        """Ends the process, and deletes what it made."""
        if enrolment.state in ("running", "choose"):
            enrolment.state, enrolment.message = "cancelled", "cancelled; what was made is deleted."
            await self._end(enrolment)
            await run_in_threadpool(shutil.rmtree, enrolment.folder, True)

    async def close(self) -> None:
        """Ends all processes; what they made stays, and is found again by the same command."""
        for enrolment in self._all.values():
            if enrolment.state == "running":
                await self._end(enrolment)
            _delete(enrolment.folder / _FILMED)

    async def forget(self, name: str) -> None:
        """Cancels and drops the enrolments of somebody who is to be erased."""
        for number, one in list(self._all.items()):
            if one.name.casefold() == bare(name).casefold():
                await self.cancel(one)
                self._all.pop(number, None)

    async def _end(self, enrolment: Enrolment) -> None:
        if enrolment.task is not None:
            enrolment.task.cancel()
            await asyncio.gather(enrolment.task, return_exceptions=True)

    def _copy(self, enrolment: Enrolment, video: Video) -> None:
        """An upload may expire while it is learnt from."""
        enrolment.folder.mkdir(parents=True, mode=0o700)
        copy = enrolment.folder / _FILMED
        shutil.copyfile(video.path, copy)
        enrolment.video = str(copy)

    async def _run(self, enrolment: Enrolment) -> None:
        try:
            if await self._learn(enrolment):
                await self._on_enrolled()
                enrolment.state, enrolment.message = "done", f"{enrolment.name} is enrolled."
        except asyncio.CancelledError:
            if enrolment.state == "running":
                enrolment.state, enrolment.message = "failed", "the server ended."
            raise
        except Exception as error:  # such as a program that is not there; told, since nobody waits for the task
            enrolment.state, enrolment.message = "failed", f"the enrolment could not go on ({type(error).__name__})."
        finally:
            if enrolment.state != "choose":
                _delete(enrolment.folder / _FILMED)

    async def _learn(self, enrolment: Enrolment) -> bool:
        """Whether the person is in the registry now."""
        request, out = enrolment.request, enrolment.set_folder
        fields = {"video": enrolment.video, "name": enrolment.name, "out": str(out), "consent_by": request.consent_by}
        learn = _filled(self._commands.learn, fields | {"consent_until": request.consent_until})
        person = [] if request.person is None else [f"--person={request.person}"]
        status, error = await self._process([*learn, *person], enrolment)
        if status == 1 and read_verdict(out):
            enrolment.state, enrolment.message = "failed", "the video is not good enough to learn from; see what to film next."
        elif status and _SEVERAL in error:
            enrolment.state, enrolment.message = "choose", "several people are in the video; say which one is meant."
        elif not status:
            add = _filled(self._commands.add, {"run": str(out / "stage2"), "consent": str(out / "consent.json")})
            status, error = await self._process(add, enrolment)
        if status and enrolment.state == "running":
            error = error.replace(enrolment.video, "the video").replace(f"{enrolment.folder}/", "")
            enrolment.state, enrolment.message = "failed", error or f"the program ended with status {status}."
        return not status

    async def _process(self, command: Sequence[str], enrolment: Enrolment) -> tuple[int, str]:
        """Exit status, and the sentence that the program ended with."""
        path = enrolment.folder / _LOG
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}  # the accelerator is the server's
        with path.open("ab") as log:
            path.chmod(0o600)
            # Not the event loop's own way: uvloop runs Python between fork and exec, which may lock up beside jax's threads.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
        ended = asyncio.ensure_future(asyncio.to_thread(process.wait))
        try:
            status = await asyncio.shield(ended)
        except asyncio.CancelledError:
            await _terminate(process, ended)
            raise
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        error = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
        return status, error if status else ""


def describe(enrolment: Enrolment) -> EnrolmentResult:
    """What the client is told."""
    steps = read_steps(enrolment.set_folder, is_over=enrolment.state != "running")
    enrolled = {"done": "done", "running": "waiting"}.get(enrolment.state, "waiting")
    steps.append(Step(name="enrol", state=enrolled, done=int(enrolled == "done"), total=1))
    return EnrolmentResult(
        id=enrolment.id,
        name=enrolment.name,
        state=enrolment.state,
        message=enrolment.message,
        steps=steps,
        sheet=f"/v1/enrolments/{enrolment.id}/sheet" if enrolment.sheet else None,
        verdict=read_verdict(enrolment.set_folder),
        scores=read_scores(enrolment.set_folder),
    )


def _filled(command: Sequence[str], fields: dict[str, str]) -> list[str]:
    return [re.sub(r"\{(\w+)\}", lambda found: fields[found[1]], part) for part in command]


async def _terminate(process: subprocess.Popen[bytes], ended: asyncio.Future[int]) -> None:
    process.terminate()
    await asyncio.wait({ended}, timeout=_GRACE_SECONDS)
    process.kill()  # does nothing where it has ended
    await ended


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
