"""What the routes work with, and what of a request says whose it is."""

import dataclasses
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from pvchat_jax.registry.registry import Registry
from pvchat_jax.server.access import Keys
from pvchat_jax.server.asking import Asking
from pvchat_jax.server.enrolment import Enrolments
from pvchat_jax.server.library import Library
from pvchat_jax.server.looking import Looks
from pvchat_jax.server.metrics import Metrics
from pvchat_jax.server.schemas import Error
from pvchat_jax.server.settings import Settings
from pvchat_jax.server.uploads import Uploads
from pvchat_jax.server.worker import Worker

ERRORS = {status: {"model": Error} for status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 504, 507)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """One server.

    Attributes:
      enrol_note: says why nobody can be enrolled here; empty where people can be.
      release_memory: is called now and then.
    """

    settings: Settings
    registry: Registry
    keys: Keys
    metrics: Metrics
    worker: Worker
    asking: Asking
    looks: Looks
    uploads: Uploads
    library: Library
    enrolments: Enrolments
    enrol_note: str
    release_memory: Callable[[], None]


class Caller:
    """Who sent a request: `owner` of uploads and enrolments, and the `client` that takes turns with others."""

    def __init__(self, owner: str, client: str, is_local: bool) -> None:
        self.owner, self.client, self.is_local = owner, client, is_local

    def known_as(self, user: str | None) -> str:
        """The client; programs of one machine may call themselves by a `user` each."""
        return f"{self.client}/{user}" if user and self.is_local else self.client


def _parts(request: Request) -> Parts:
    return request.app.state.parts


def _caller(request: Request) -> Caller:
    return Caller(request.state.owner, request.state.client, request.state.is_local)


TheParts = Annotated[Parts, Depends(_parts)]
TheCaller = Annotated[Caller, Depends(_caller)]
