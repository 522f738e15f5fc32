"""Too much at once, and too slow: refused with a hint, and the server goes on."""

import concurrent.futures
from pathlib import Path

import httpx2

from tests.server.running import stub_server
from tests.server.stub import write_clip


def body(text: str, user: str) -> dict:
    content = [{"type": "video_url", "video_url": {"url": "clip.mp4"}}, {"type": "text", "text": text}]
    return {"model": "pvchat:Wilson", "messages": [{"role": "user", "content": content}], "user": user}


def test_a_full_line_and_a_late_answer(tmp_path: Path) -> None:
    write_clip(tmp_path / "videos" / "clip.mp4")
    with (
        stub_server(tmp_path, "<Wilson>", slots=1, queue=3, queue_per_client=2, timeout=1.0) as server,
        httpx2.Client(base_url=server.url, timeout=30) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        assert client.post("/v1/chat/completions", json=body("warm up", "")).status_code == 200
        server.lanes.seconds = 0.05

        def ask(user: str) -> httpx2.Response:
            return client.post("/v1/chat/completions", json=body("on " * 60, user))

        answers = list(pool.map(ask, ["first"] * 6 + ["second", "third", "fourth", "fifth"]))
        found = sorted({answer.status_code for answer in answers})
        assert set(found) <= {429, 503, 504} and {429, 504} <= set(found)
        for answer in answers:
            assert answer.headers["Retry-After"] and answer.json()["error"]["message"]
        server.lanes.seconds = 0.0
        assert client.post("/v1/chat/completions", json=body("again", "")).status_code == 200
        health = client.get("/health").json()
        assert health == {"status": "ok", "waiting": 0, "open": 0}
        assert 'pvchat_cancelled_total{reason="timeout"}' in client.get("/metrics").text
