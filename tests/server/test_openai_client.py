"""The client that OpenAI publishes, as it is, against a real server."""

import base64
import concurrent.futures
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.server.running import Running, stub_server, until
from tests.server.stub import write_clip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    write_clip(folder / "videos" / "park" / "clip.mp4")
    with stub_server(folder, "<Wilson>", "<Ada>", slots=4, upload_bytes=2**20) as running:
        yield running


@pytest.fixture
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0)


def ask(text: str, video: str = "park/clip.mp4") -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": video}}, {"type": "text", "text": text}]}]


def test_an_answer_with_who_is_there(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="pvchat", messages=ask("What does Wilson wear?"))
    assert answer.choices[0].message.content == "<Wilson>: What does Wilson wear? [park/clip.mp4] 0"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 7)
    assert answer.pvchat["presence"] == {"<Wilson>": {"probability": 0.97, "verdict": "present", "log_odds": 3.5}}
    assert len(answer.pvchat["frame_times"]) == 4
    cut = client.chat.completions.create(model="pvchat", messages=ask("What does Wilson wear?"), max_tokens=3)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("<Wilson>: What does", "length")


def test_a_stream_is_the_answer(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="pvchat:ada", messages=ask("What is she doing?"), stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == "<Ada>: What is she doing? [park/clip.mp4] 0" and len(pieces) == 7
    assert chunks[0].pvchat["presence"]["<Ada>"]["verdict"] == "present"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 7


def test_several_people_get_lines_of_their_own(client: openai.OpenAI, server: Running) -> None:
    server.assistant.verdicts["<Ada>"] = "absent"
    try:
        answer = client.chat.completions.create(model="pvchat", messages=ask("What do Ada and Wilson do?"))
        stream = client.chat.completions.create(model="pvchat", messages=ask("What do Ada and Wilson do?"), stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    finally:
        server.assistant.verdicts.clear()
    assert answer.choices[0].message.content.splitlines() == [
        "<Ada> is absent.",
        "<Wilson>: <Wilson>: What do Ada and Wilson do? [park/clip.mp4] 0",
    ]
    assert streamed == answer.choices[0].message.content
    assert {name: of["verdict"] for name, of in answer.pvchat["presence"].items()} == {"<Ada>": "absent", "<Wilson>": "present"}


def test_files_and_data_addresses(client: openai.OpenAI, server: Running) -> None:
    path = server.folder / "videos" / "park" / "clip.mp4"
    uploaded = client.files.create(file=path, purpose="user_data")
    assert (uploaded.filename, uploaded.bytes, uploaded.status) == ("clip.mp4", path.stat().st_size, "processed")
    assert uploaded.id in [one.id for one in client.files.list()]
    part = {"type": "file", "file": {"file_id": uploaded.id}}
    answer = client.chat.completions.create(
        model="pvchat:Wilson", messages=[{"role": "user", "content": [part, {"type": "text", "text": "Where is he?"}]}]
    )
    assert answer.choices[0].message.content == "<Wilson>: Where is he? [clip.mp4] 0"
    assert client.files.content(uploaded.id).read() == path.read_bytes()
    assert client.files.delete(uploaded.id).deleted
    with pytest.raises(openai.NotFoundError, match="upload it again"):
        client.chat.completions.create(model="pvchat:Wilson", messages=ask("Where is he?", uploaded.id))
    address = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
    answer = client.chat.completions.create(model="pvchat:Wilson", messages=ask("Where is he?", address))
    assert answer.choices[0].message.content.startswith("<Wilson>: Where")


def test_a_conversation_goes_on_and_its_video_is_looked_at_once(client: openai.OpenAI, server: Running) -> None:
    before = server.assistant.watched.count("park/clip.mp4")
    messages = [*ask("Is Wilson there?"), {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "What does he wear?"}]
    answer = client.chat.completions.create(model="pvchat", messages=messages)
    assert answer.choices[0].message.content == "<Wilson>: What does he wear? [park/clip.mp4] 1"
    assert server.assistant.watched.count("park/clip.mp4") <= max(before, 1)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["pvchat", "pvchat:Wilson", "pvchat:Ada"]
    assert client.models.retrieve("pvchat:Ada").id == "pvchat:Ada"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("pvchat:Nobody")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model": "gpt"}, openai.NotFoundError, "no model 'gpt'"),
        ({"model": "pvchat:Bob"}, openai.NotFoundError, "nobody called 'Bob'"),
        ({"messages": ask("Who is that?")}, openai.BadRequestError, "name somebody"),
        ({"messages": ask("Where is Wilson?", "../secret.mp4")}, openai.NotFoundError, "no video '../secret.mp4'"),
        ({"messages": ask("Where is Wilson?", "https://example.org/a.mp4")}, openai.BadRequestError, "fetches nothing"),
        ({"messages": ask("Where is Wilson?", "data:video/mp4;base64,AAAA")}, openai.BadRequestError, "damaged or no video"),
        ({"messages": [{"role": "user", "content": "Where is Wilson?"}]}, openai.BadRequestError, "no message has a video"),
        ({"messages": [*ask("Where?"), {"role": "assistant", "content": "?"}]}, openai.BadRequestError, "end with a question"),
        ({"messages": [{"role": "system", "content": "Be brief."}, *ask("Wilson?")]}, openai.UnprocessableEntityError, "role"),
        ({"messages": ask("refuse Wilson")}, openai.BadRequestError, "ask another"),
        ({"max_tokens": 100_000}, openai.BadRequestError, "ask for fewer"),
        ({"n": 2}, openai.UnprocessableEntityError, "n: "),
        ({"tools": []}, openai.UnprocessableEntityError, "tools"),
        ({"temperature": 0.5, "extra_body": {"num_beams": 4}}, openai.BadRequestError, "beam search draws nothing"),
        ({"messages": ask("crash Wilson")}, openai.InternalServerError, "its log says more"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_one_sentence(
    client: openai.OpenAI, changes: dict[str, Any], kind: type[Exception], message: str, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "pvchat", "messages": ask("Where is Wilson?"), "stream": stream, **changes})
    assert message in caught.value.body["message"]
    assert client.chat.completions.create(model="pvchat", messages=ask("Where is Wilson?")).choices  # the server goes on


def test_clients_are_answered_together(client: openai.OpenAI, server: Running) -> None:
    worker = server.app.state.parts.worker
    texts = [f"Where is Wilson now number {number} ?" for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        with server.lanes.pace.held():
            answers = pool.map(lambda text: client.chat.completions.create(model="pvchat", messages=ask(text)), texts)
            until(lambda: worker.num_open + worker.num_waiting == 8)
        answers = list(answers)
    assert [answer.choices[0].message.content for answer in answers] == [f"<Wilson>: {text} [park/clip.mp4] 0" for text in texts]
    assert max(lane.most_taken for lane in server.lanes.all) == 4  # as many as there are slots


def test_who_hangs_up_frees_the_slot(client: openai.OpenAI, server: Running) -> None:
    parts = server.app.state.parts
    given_up, tokens = _value(parts.metrics.cancelled.labels("client")), _value(parts.metrics.tokens)
    long = ask("Where is Wilson " + "and " * 100)
    with server.lanes.pace.held():
        stream = client.chat.completions.create(model="pvchat", messages=long, stream=True)
        next(iter(stream))
        until(lambda: parts.worker.num_open == 1)
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        body = json.dumps({"model": "pvchat", "messages": long})
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        until(lambda: parts.worker.num_waiting == 1)
        stream.close()
        connection.close()
        until(lambda: _value(parts.metrics.cancelled.labels("client")) == given_up + 2)
        assert parts.worker.num_waiting == 0
    until(lambda: parts.worker.num_open == 0)
    assert _value(parts.metrics.tokens) == tokens  # neither was answered to the end


def _value(metric: Any) -> float:
    return metric._value.get()
