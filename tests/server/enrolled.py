"""A server with the people of a real registry and an assistant without a model, where enrolling ends well."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pvchat_jax.registry.registry import Registry
from pvchat_jax.server.enrolment import Commands
from tests.assistant.tiny_registry import make_registry
from tests.server import fake_learning
from tests.server.running import Running, stub_server


def commands(folder: Path) -> Commands:
    """Learning somebody ends in a copy of `<Nora>`."""
    script = (sys.executable, fake_learning.__file__)
    fields = ("--video={video}", "--name={name}", "--out={out}", "--consent_by={consent_by}", "--consent_until={consent_until}")
    person = nora(folder)
    copied = (str(person), str(folder / "people" / person.parent.name / person.name))
    return Commands(learn=(*script, "learn", f"--hold={folder}", *fields), add=(*script, "add", "{run}", *copied))


def nora(folder: Path) -> Path:
    """Of somebody in another registry."""
    return Registry(folder / "elsewhere" / "people").person("Nora").folder


@contextlib.contextmanager
def held(server: Running, point: str) -> Iterator[None]:
    """Learning does not get beyond `begin` or `train` meanwhile."""
    file = server.folder / point
    file.touch()
    try:
        yield
    finally:
        file.unlink()


@contextlib.contextmanager
def registry_server(folder: Path, **settings: Any) -> Iterator[Running]:
    """Wilson and Ada are enrolled; Nora is not yet."""
    registry = make_registry(folder / "people", ("<Wilson>", "<Ada>"))
    make_registry(folder / "elsewhere" / "people", ("<Nora>",))
    with stub_server(folder, "<Ada>", "<Wilson>", commands=commands(folder), **settings) as running:
        running.assistant.on_refresh = lambda: tuple(person.name for person in Registry(registry.folder).people())
        yield running
