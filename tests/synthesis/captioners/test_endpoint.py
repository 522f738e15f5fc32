"""Questions reach a server that speaks OpenAI's protocol, its troubles become sentences, and frames stay on the machine."""

import base64
import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pvchat_jax.chat_models.replies import ModelUnavailable
from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.captioners.endpoint import EndpointCaptioner
from tests.chat_servers import Reply, Server, completion

pytest.importorskip("openai")
FRAMES = np.zeros((20, 16, 1000, 3), np.uint8)
FRAMES[..., 0] = 10 * np.arange(20)[:, None, None]
VIEW = ClipView(FRAMES, {})
QUESTIONS = [Question(question=f"What is the person {word}?", answer="", type="action") for word in ("doing", "holding")]


def answers(reply: Callable[[dict[str, Any], int], Reply], **options: Any) -> tuple[list[str], Server]:
    with Server(reply).running() as server:
        return EndpointCaptioner(server.url, "m", **options).answer(VIEW, QUESTIONS), server


def question_of(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"][-1]["text"]


def test_frames_and_questions_arrive_and_replies_come_back_in_order() -> None:
    found, server = answers(lambda body, number: completion(f'<think>hm</think> **Answer:** "{question_of(body)}"'))
    assert found == [question.question for question in QUESTIONS]
    body = next(body for body in server.bodies if question_of(body) == QUESTIONS[0].question)
    assert (body["model"], body["temperature"]) == ("m", 0)
    urls = [part["image_url"]["url"] for part in body["messages"][-1]["content"][:-1]]
    images = [Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))) for url in urls]
    assert len(images) == 8 and images[0].size == (768, 12)
    reds = [np.asarray(image)[..., 0].mean() for image in images]
    assert reds == sorted(reds) and reds[-1] > 150


def test_a_busy_server_is_asked_again() -> None:
    found, server = answers(lambda body, number: (503, "text/plain", "busy") if number <= 3 else completion("Waving."))
    assert found == ["Waving.", "Waving."] and len(server.bodies) == 5


@pytest.mark.parametrize(
    ("reply", "message", "for_good"),
    [
        ((503, "text/plain", "busy"), "status 503", False),
        ((400, "application/json", '{"error": {"message": "no images"}}'), "takes images", False),
        ((401, "application/json", '{"error": {"message": "who are you"}}'), "valid key", True),
        ((404, "application/json", '{"error": {"message": "no such model"}}'), "the model 'm'", True),
        ((307, "text/plain", ""), "somewhere else", True),
        ((200, "text/html", "<html>welcome</html>"), "no chat completion", False),
        ((200, "application/json", "{nonsense"), "chat protocol", False),
        ((200, "application/json", "[]"), "chat protocol", False),
        ((200, "application/json", '{"choices": []}'), "no chat completion", False),
        (completion(None), "empty answer", False),
        (completion("<think>no end"), "empty answer", False),
    ],
)
def test_troubles_are_told_in_a_sentence(reply: Reply, message: str, for_good: bool) -> None:
    with pytest.raises(UserError, match=message) as caught:
        answers(lambda body, number: reply, max_retries=1)
    assert isinstance(caught.value, ModelUnavailable) == for_good


def test_nobody_listening_ends_the_run() -> None:
    with Server(lambda body, number: completion("")).running() as server:
        url = server.url
    with pytest.raises(ModelUnavailable, match="start it"):
        EndpointCaptioner(url, "m", max_retries=0).answer(VIEW, QUESTIONS)


def test_a_slow_server_is_given_up() -> None:
    release = threading.Event()

    def wait(body: dict[str, Any], number: int) -> Reply:
        release.wait(5)
        return completion("late")

    with Server(wait).running() as server:
        with pytest.raises(UserError, match="in time"):
            EndpointCaptioner(server.url, "m", timeout=0.2, max_retries=0).answer(VIEW, QUESTIONS)
        release.set()


def test_a_local_server_gets_neither_proxy_nor_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.2:9")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found, server = answers(lambda body, number: completion("Waving."), max_retries=0)
    assert found == ["Waving.", "Waving."]
    assert "secret" not in str(server.headers)


def test_another_machine_needs_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for url in ("https://api.example.org/v1", "http://192.168.1.2:8000/v1", "http://localhost.example.org/v1", "http://0.0.0.0:1/v1"):
        with pytest.raises(UserError, match="another machine"):
            EndpointCaptioner(url, "m", api_key="key")
    remote = EndpointCaptioner("https://api.example.org/v1", "m", allow_remote=True, api_key="key")
    assert remote.leaves_machine and remote.name == "m at api.example.org"
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        EndpointCaptioner("https://api.example.org/v1", "m", allow_remote=True)
    for url in ("http://localhost:1/v1", "http://127.1.2.3:1/v1", "http://[::1]:1/v1"):
        assert not EndpointCaptioner(url, "m").leaves_machine
    with pytest.raises(UserError, match="no address"):
        EndpointCaptioner("127.0.0.1:8000", "m")
