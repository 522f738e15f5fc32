"""Questions about people over one base, with people who were never trained."""

import pytest

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.inference.options import DecodingOptions
from tests.assistant.tiny_registry import NAMES, make_frames, make_registry

OPTIONS = DecodingOptions(max_new_tokens=4)


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return Assistant.open(make_registry(tmp_path_factory.mktemp("registry") / "people", verdict="present"))


def test_answers(assistant: Assistant) -> None:
    watched = assistant.watch_frames([make_frames()], [(0.0, 1.0, 2.0, 3.0)], "noise")[0]
    assert assistant.names == tuple(sorted(NAMES))
    said = assistant.reply(watched, ["wilson"], "What is Wilson doing?", OPTIONS)
    assert "".join(assistant.stream(watched, ["wilson"], "What is he doing?", OPTIONS)).strip() == said.text
    print(said, assistant.reply(watched, NAMES, "Are Wilson and Ada here?", OPTIONS))
