"""A real server on a free port of this machine, in a thread of the test."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from fastapi import FastAPI

from pvchat_jax.registry.registry import Registry
from pvchat_jax.server.app import create_app
from pvchat_jax.server.enrolment import Commands
from pvchat_jax.server.settings import Settings
from tests.server.stub import StubAssistant, StubLane, lanes

NO_COMMANDS = Commands(learn=("false",), add=("false",))


class Running(NamedTuple):
    """A server that answers at `url`."""

    url: str
    app: FastAPI
    assistant: Any
    lanes: type[StubLane]
    folder: Path


def until(holds: Callable[[], object]) -> None:
    """Returns when `holds` does, on however slow a machine."""
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


@contextlib.contextmanager
def run(app: FastAPI) -> Iterator[str]:
    """Its address while it runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def stub_server(folder: Path, *names: str, commands: Commands = NO_COMMANDS, **settings: Any) -> Iterator[Running]:
    """A server whose people are `names`, with the folders `videos` and `work` in `folder`."""
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    assistant, kind = StubAssistant(*names), lanes()
    app = create_app(
        Registry(folder / "people"),
        Settings(**{"workspace": folder / "work", "videos": folder / "videos", **settings}),
        commands,
        open_assistant=lambda: assistant,
        open_lane=kind,
    )
    with run(app) as url:
        yield Running(url, app, assistant, kind, folder)
