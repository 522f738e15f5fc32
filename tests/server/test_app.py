"""What goes on in the background while the server runs."""

import threading
from pathlib import Path

import pytest

from pvchat_jax.registry.registry import Registry
from pvchat_jax.server import app as application
from pvchat_jax.server.settings import Settings
from tests.server.running import NO_COMMANDS, run
from tests.server.stub import StubAssistant, lanes


def test_memory_is_released_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_SECONDS_BETWEEN_EXPIRIES", 0.01)
    released = threading.Semaphore(0)
    app = application.create_app(
        Registry(tmp_path / "people"),
        Settings(workspace=tmp_path / "work"),
        NO_COMMANDS,
        release_memory=released.release,
        open_assistant=StubAssistant,
        open_lane=lanes(),
    )
    with run(app):
        assert all(released.acquire(timeout=300) for _ in range(3))
