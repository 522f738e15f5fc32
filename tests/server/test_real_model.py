"""Clients of a server with the real model get, together, what each would get alone."""

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openai
import pytest

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.server.app import create_app
from pvchat_jax.server.settings import Settings
from tests.assistant.tiny_registry import make_registry
from tests.server.running import NO_COMMANDS, run
from tests.server.stub import write_clip

QUESTIONS = (
    "What is Wilson doing?",
    "What is Ada wearing?",
    "Is Wilson in this video?",
    "Where are Wilson and Ada?",
    "What is Wilson wearing?",
)
_PATIENCE = 600.0  # seconds: programs are compiled meanwhile


class Case(NamedTuple):
    """A server, and the assistant within it, which may be asked while the server rests."""

    client: openai.OpenAI
    worker: object
    alone: Assistant
    folder: Path


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("real")
    registry = make_registry(folder / "people", verdict="present")
    for number in range(2):
        write_clip(folder / "videos" / f"{number}.mp4", greys=(40 + 100 * number, 200))
    settings = Settings(workspace=folder / "work", videos=folder / "videos", slots=4, prompt_tokens=64, answer_tokens=16, timeout=_PATIENCE)
    assistant = Assistant.open(registry)
    app = create_app(registry, settings, NO_COMMANDS, open_assistant=lambda: assistant)
    with run(app) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=_PATIENCE)
        yield Case(client, app.state.parts.worker, assistant, folder)


def ask(client: openai.OpenAI, text: str, video: str, stream: bool = False) -> str:
    content = [{"type": "video_url", "video_url": {"url": video}}, {"type": "text", "text": text}]
    answer = client.chat.completions.create(model="pvchat", messages=[{"role": "user", "content": content}], max_tokens=12, stream=stream)
    if stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer).strip()
    return answer.choices[0].message.content


@pytest.mark.slow
def test_asked_together_and_asked_alone(case: Case) -> None:
    asked = [(text, f"{number}.mp4", stream) for text in QUESTIONS for number in range(2) for stream in (False, True)]
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: ask(case.client, *one), asked))
    watched = {f"{number}.mp4": case.alone.watch(case.folder / "videos" / f"{number}.mp4") for number in range(2)}
    names = {text: [name for name in ("<Wilson>", "<Ada>") if name.strip("<>") in text] for text in QUESTIONS}
    options = DecodingOptions(max_new_tokens=12)
    alone = {(text, video): case.alone.reply(watched[video], names[text], text, options).text for text in QUESTIONS for video in watched}
    assert answers == [alone[text, video] for text, video, _ in asked]
    assert len(set(answers)) > 3
    assert np.all([running.lane.num_taken == 0 for running in case.worker._lanes.values()])
