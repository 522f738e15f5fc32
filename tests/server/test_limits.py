"""Too much at once, and too slow: refused with a hint, and the server goes on."""

import concurrent.futures
from pathlib import Path

import httpx2
import pytest

from tests.server.running import Running, stub_server, until
from tests.server.stub import write_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clip(tmp_path / "videos" / "clip.mp4")
    return tmp_path


def ask(server: Running, user: str) -> httpx2.Response:
    content = [{"type": "video_url", "video_url": {"url": "clip.mp4"}}, {"type": "text", "text": "how is he ?"}]
    body = {"model": "pvchat:Wilson", "messages": [{"role": "user", "content": content}], "user": user}
    return httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=300)


def assert_refused(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status and answer.headers["Retry-After"] and answer.json()["error"]["message"]


def test_a_full_line(folder: Path) -> None:
    with (
        stub_server(folder, "<Wilson>", slots=1, queue=3, queue_per_client=2, timeout=300.0) as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        worker = server.app.state.parts.worker
        with server.lanes.pace.held():
            answers = [pool.submit(ask, server, "first")]
            until(lambda: worker.num_open == 1)
            for number, user in enumerate(("first", "first", "second"), 1):
                answers.append(pool.submit(ask, server, user))
                until(lambda expected=number: worker.num_waiting == expected)
            assert_refused(ask(server, "first"), 429)
            assert_refused(ask(server, "third"), 503)
        assert [answer.result().status_code for answer in answers] == [200] * 4
        assert httpx2.get(f"{server.url}/health").json() == {"status": "ok", "waiting": 0, "open": 0}


def test_a_late_answer(folder: Path) -> None:
    with stub_server(folder, "<Wilson>", slots=1, timeout=0.5) as server:

        def late() -> bool:
            assert_refused(ask(server, ""), 504)
            return 'pvchat_cancelled_total{reason="timeout"}' in httpx2.get(f"{server.url}/metrics").text

        with server.lanes.pace.held():
            until(late)  # where the machine is slow, even the video was looked at too late at first
        until(lambda: ask(server, "").status_code == 200)
        until(lambda: httpx2.get(f"{server.url}/health").json() == {"status": "ok", "waiting": 0, "open": 0})
