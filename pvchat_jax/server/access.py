"""Who may ask: keys, the names of the server, and pages of other sites."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from pvchat_jax.errors import UserError
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.replies import send_refusal
from pvchat_jax.server.settings import LOOPBACK

SESSION_COOKIE = "pvchat_session"
_OPEN_PATHS = ("/", "/health", "/session", "/favicon.ico")  # and what lies below /static/
_MOST_SESSIONS = 1000
_SHORTEST_KEY = 16


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys of a file, one in a line; lines that begin with # are comments.

    Raises:
      UserError: it cannot be read, or holds no key.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the file of keys {path} cannot be read ({error}); correct --api_key_file.") from error
    return require_keys([line for line in lines if line and not line.startswith("#")], str(path))


def require_keys(keys: Iterable[str], source: str) -> tuple[str, ...]:
    """`keys`, at least one and none that can be guessed.

    Raises:
      UserError: they are not.
    """
    found = tuple(keys)
    if not found:
        raise UserError(f"{source} holds no key; write one there, such as {secrets.token_urlsafe(24)}")
    if any(len(key) < _SHORTEST_KEY for key in found):
        raise UserError(f"a key in {source} has fewer than {_SHORTEST_KEY} characters; take one such as {secrets.token_urlsafe(24)}")
    return found


class Keys:
    """Which of the accepted keys a text is, compared without hints in the time that it takes; and browsers that showed one."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]
        self._sessions: dict[bytes, int] = {}

    @property
    def are_required(self) -> bool:
        return bool(self._digests)

    def find(self, text: str) -> int | None:
        """Index of the key that `text` is."""
        given = _digest(text)
        same = [hmac.compare_digest(given, digest) for digest in self._digests]  # all of them, so that the time says nothing
        return same.index(True) if any(same) else None

    def open_session(self, text: str) -> str:
        """A token that stands for the key in a browser, until the server ends.

        Raises:
          Refusal: `text` is no key.
        """
        key = self.find(text)
        if key is None:
            raise Refusal(401, "this is not a key of the server; ask whoever runs it for one.")
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = key
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return token

    def of_request(self, headers: Headers) -> int | None:
        """Index of the key that came with a request."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and text:
            return self.find(text.strip())
        token = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE, "")
        return self._sessions.get(_digest(token)) if token else None


class Guard:
    """Lets in what is addressed to this server, not sent by a page of another site, and comes with a key where one is needed.

    `scope["state"]` gets `owner`, whose uploads it may use, and `client`, which takes turns with other clients.

    Args:
      hosts: names under which the server may be addressed.
    """

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Iterable[str]) -> None:
        self._app, self._keys, self._hosts = app, keys, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "http":
            try:
                self._admit(scope)
            except Refusal as refusal:
                await send_refusal(refusal, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name_of(f"//{host}") not in self._hosts:
            raise Refusal(403, "this server has another name; use the address that it printed, or allow this name with --host_name.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(403, "pages of other sites may not use this server; open its own page.")
        peer = scope["client"][0] if scope.get("client") else ""
        key = self._keys.of_request(headers) if self._keys.are_required else None
        if self._keys.are_required and key is None and not _is_open(scope["path"]):
            raise Refusal(401, "a key of this server is needed; send it as 'Authorization: Bearer KEY'.")
        state = scope.setdefault("state", {})
        state["owner"] = "" if key is None else str(key)
        state["client"] = f"{state['owner']}/{peer}"
        state["is_local"] = peer in LOOPBACK


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith("/static/")


def _name_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
