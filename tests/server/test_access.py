"""Who is let in: keys, names of the server, pages of other sites."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.server.access import Keys, read_keys
from tests.server.running import Running, stub_server
from tests.server.stub import write_clip

KEYS = ("first-key-of-many-letters", "second-key-of-many-letters")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("guarded")
    write_clip(folder / "videos" / "clip.mp4")
    with stub_server(folder, "<Wilson>", keys=KEYS, body_bytes=10_000) as running:
        yield running


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_nothing_but_the_page_without_a_key(server: Running) -> None:
    with httpx2.Client(base_url=server.url) as client:
        for path in ("/v1/models", "/v1/subjects", "/v1/files", "/metrics", "/openapi.json", "/v1/videos/content?video=clip.mp4"):
            for headers in ({}, bearer("wrong"), bearer("x"), {"Authorization": KEYS[0]}, {"Cookie": f"pvchat_session={KEYS[0]}"}):
                refused = client.get(path, headers=headers)
                assert refused.status_code == 401 and refused.headers["WWW-Authenticate"] == "Bearer"
            assert client.get(path, headers=bearer(KEYS[1])).status_code == 200
        for path in ("/", "/static/main.js", "/health"):
            assert client.get(path).status_code == 200
        assert client.get("/static/../app.py").status_code in (401, 404)
        assert client.get("/static/%2e%2e/app.py").status_code in (401, 404)


def test_a_browser_shows_its_key_once(server: Running) -> None:
    with httpx2.Client(base_url=server.url) as client:
        assert client.post("/session", json={"key": "wrong"}).status_code == 401
        entered = client.post("/session", json={"key": KEYS[0]})
        cookie = entered.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and KEYS[0] not in cookie
        assert client.get("/v1/models").status_code == 200


def test_keys_have_uploads_of_their_own(server: Running) -> None:
    content = (server.folder / "videos" / "clip.mp4").read_bytes()
    with httpx2.Client(base_url=server.url) as client:
        sent = client.post("/v1/files", files={"file": ("clip.mp4", content)}, headers=bearer(KEYS[0])).json()
        assert client.get(f"/v1/files/{sent['id']}", headers=bearer(KEYS[0])).json() == sent
        assert client.get(f"/v1/files/{sent['id']}", headers=bearer(KEYS[1])).status_code == 404
        assert client.get("/v1/files", headers=bearer(KEYS[1])).json()["data"] == []


def test_other_names_and_other_sites_are_refused(server: Running) -> None:
    with httpx2.Client(base_url=server.url, headers=bearer(KEYS[0])) as client:
        assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403  # a name that was made to lead here
        assert client.get("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get("/v1/models", headers={"Origin": "null"}).status_code == 403
        assert client.get("/v1/models", headers={"Origin": server.url}).status_code == 200


def test_headers_keep_browsers_careful(server: Running) -> None:
    with httpx2.Client(base_url=server.url) as client:
        for path in ("/", "/health", "/v1/models", "/nothing"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"] and "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff" and "server" not in headers


def test_long_bodies_are_refused_before_they_are_read(server: Running) -> None:
    with httpx2.Client(base_url=server.url, headers=bearer(KEYS[0])) as client:
        assert client.post("/v1/chat/completions", content=b"x" * 10_001).status_code == 413
        assert client.post("/v1/chat/completions", content=iter([b"x" * 6000] * 2)).status_code == 413  # without a declared length
        assert client.post("/v1/chat/completions", content=b"x" * 9_999).status_code == 422


def test_logs_and_metrics_have_no_names(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    content = [{"type": "video_url", "video_url": {"url": "clip.mp4"}}, {"type": "text", "text": "Is Wilson hiding?"}]
    body = {"model": "pvchat:Wilson", "messages": [{"role": "user", "content": content}]}
    with caplog.at_level(logging.INFO), httpx2.Client(base_url=server.url, headers=bearer(KEYS[0])) as client:
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        client.delete("/v1/subjects/Wilson?confirm=Ada")
        metrics = client.get("/metrics").text
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("pvchat_jax")]
    assert any("/v1/chat/completions 200" in line for line in logged) and any("/v1/subjects/{name} 400" in line for line in logged)
    for word in ("Wilson", "hiding", "clip.mp4"):
        assert word not in metrics and not any(word in line for line in logged)
    assert 'pvchat_requests_total{route="/v1/chat/completions",status="200"} 1.0' in metrics
    assert "pvchat_tokens_total 6.0" in metrics


def test_files_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{KEYS[0]}\n\n {KEYS[1]} \n")
    assert read_keys(path) == KEYS
    for content, message in (("# none\n", "holds no key"), ("short\n", "fewer than 16"), (None, "cannot be read")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_keys(path)


def test_sessions_are_bounded() -> None:
    keys = Keys(KEYS)
    first = keys.open_session(KEYS[0])
    for _ in range(1000):
        last = keys.open_session(KEYS[1])
    found = [keys.of_request(httpx2.Headers({"cookie": f"pvchat_session={token}"})) for token in (first, last)]
    assert found == [None, 1]
