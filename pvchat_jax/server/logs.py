"""One line for each request: what kind it was, how it ended, how long it took. Names and questions stay out unless asked for."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pvchat_jax.server.metrics import Metrics

log = logging.getLogger("pvchat_jax.server")


class RequestLog:
    """Logs and counts requests by their route, whose placeholders stand for names.

    Args:
      log_content: whether the path itself is logged too.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log_content: bool) -> None:
        self._app, self._metrics, self._log_content = app, metrics, log_content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 499, time.monotonic()  # as where the client hung up

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = 500
            raise
        finally:
            seconds = time.monotonic() - start
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            shown = scope["path"] if self._log_content else route
            log.info("%s %s %d %.0f ms", scope["method"], shown, status, 1e3 * seconds)
